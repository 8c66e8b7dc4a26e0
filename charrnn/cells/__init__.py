"""Recurrent cells, one per file, and the registry that names them."""

from dataclasses import fields
from importlib import import_module
from typing import Any

import msgspec

from charrnn.cells.cell import Cell
from charrnn.config import CELL_NAMES, Option

CELLS: dict[str, type[Any]] = {name: import_module(f"{__name__}.{name}").CELL for name in CELL_NAMES}
"""Name -> class. The name is the file's; the class's fields other than the sizes are the cell's options."""

SIZES = ("input_size", "hidden_size", "num_outputs")

START_OPTIONS = ("forget_bias", "memory_span")
"""Options that set a new cell's initial parameters and change no equation."""


def option_names(name: str) -> tuple[str, ...]:
    """The names of a cell's options: its fields other than the sizes."""
    return tuple(field.name for field in fields(CELLS[name]) if field.name not in SIZES)


def build_cell(
    name: str, input_size: int, hidden_size: int, options: dict[str, Option], *, num_outputs: int = 1
) -> Cell:
    """The cell with this registry name; `num_outputs` is the model's, for cells that feed outputs back.

    Raises ValueError for an option that the cell does not have or cannot take.
    """
    unknown = options.keys() - set(option_names(name))
    if unknown:
        raise ValueError(f"the cell {name} has no option {min(unknown)!r}")
    sizes = dict(zip(SIZES, (input_size, hidden_size, num_outputs), strict=True))
    known = {field.name for field in fields(CELLS[name])}
    values = {size: value for size, value in sizes.items() if size in known}
    cell: Cell = msgspec.convert({**values, **options}, CELLS[name])
    return cell
