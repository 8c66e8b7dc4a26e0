"""Recurrent cells, one a file, and the registry that names them."""

from dataclasses import fields

import msgspec

from charrnn.cells.cell import Cell
from charrnn.cells.gru import GRU
from charrnn.cells.lstm import LSTM
from charrnn.cells.tanh import Tanh
from charrnn.config import Option

CELLS: dict[str, type[Tanh] | type[LSTM] | type[GRU]] = {"tanh": Tanh, "lstm": LSTM, "gru": GRU}
"""Name -> class; the name is the file's, and the fields beyond the sizes are the cell's options."""


def build_cell(name: str, input_size: int, hidden_size: int, options: dict[str, Option]) -> Cell:
    """A cell by its registry name. Raises ValueError for an option that the cell does not have or cannot take."""
    cell = CELLS[name]
    unknown = options.keys() - {field.name for field in fields(cell)}
    if unknown:
        raise ValueError(f"the cell {name} has no option {min(unknown)!r}")
    values = {"input_size": input_size, "hidden_size": hidden_size, **options}
    return msgspec.convert(values, type=cell)
