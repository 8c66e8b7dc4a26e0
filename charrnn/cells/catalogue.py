"""Each cell's purpose, equations, symbols, drawing and source, read from its docstrings.

The first line of a cell's file is its purpose. The docstring of its class begins with the equations, continues
with the symbols ("U = `weight_ih`"), draws the cell below a line that begins with "Unfolded in time", and ends
with a paragraph that begins with "Source:".
"""

import inspect
import re
from dataclasses import dataclass
from itertools import pairwise

from charrnn.cells import CELLS

BOOK = "Deep Learning"

SYMBOLS = {"weight_ih": "U", "weight_hh": "W", "bias": "b", "readout.weight": "V", "readout.bias": "c"}
"""Symbols of the parameters that mean the same in every cell."""


@dataclass(frozen=True)
class Description:
    purpose: str
    equations: tuple[str, ...]
    """One per line."""
    unfolded: tuple[str, ...]
    """The lines of a drawing of several steps, what it shows before them."""
    source: str
    section: str | None
    """The section of *Deep Learning*; None for a cell that is not in the book."""
    paper: str | None
    """Authors and year of the paper, for a cell that is not in the book."""


def describe(name: str) -> Description:
    """The description of the cell with this registry name."""
    purpose = _paragraphs(inspect.getmodule(CELLS[name]))[0][0]
    paragraphs = _paragraphs(CELLS[name])
    source = next(" ".join(lines) for lines in paragraphs if lines[0].startswith("Source: "))
    first = source.removeprefix("Source: ").partition(";")[0]
    section = re.search(r"(?:sections?|chapter) (\d+(?:\.\d+)*)", first) if BOOK in first else None
    paper = None if section else re.search(r"[A-Z]\w+(?:,? (?:and )?[A-Z]\w+| et al\.)* \d{4}", first)
    return Description(
        purpose=purpose.removesuffix("."),
        equations=tuple(_equations(paragraphs)),
        unfolded=tuple(_unfolded(paragraphs)),
        source=_plain(source.removeprefix("Source: ")),
        section=section and section[1],
        paper=paper and paper[0],
    )


def symbol(name: str, parameter: str) -> str:
    """A parameter's symbol in the equations of a cell; the parameter's own name if it has none."""
    number = re.match(r"\d+(?=\.)", parameter)
    pattern = parameter if number is None else f"k{parameter[number.end() :]}"
    given = re.search(rf"(\S+) = `{re.escape(pattern)}`", inspect.getdoc(CELLS[name]) or "")
    found = given[1] if given else SYMBOLS.get(parameter, parameter)
    return found.replace("_k", f"_{number[0]}") if number else found


def _paragraphs(documented: object) -> list[list[str]]:
    text = inspect.getdoc(documented) or ""
    return [paragraph.splitlines() for paragraph in text.split("\n\n")]


def _equations(paragraphs: list[list[str]]) -> list[str]:
    """The lines before the list of symbols; lines of prose are joined, indented lines stay separate."""
    found: list[str] = []
    for number, lines in enumerate(paragraphs):
        if number and any("`" in line for line in lines):
            break
        set_off = lines[0].startswith("  ")
        found += [line.strip() for line in lines] if set_off else [" ".join(lines)]
    return [_plain(re.sub(r"(, then|[.:])$", "", line)) for line in found]


def _unfolded(paragraphs: list[list[str]]) -> list[str]:
    for heading, drawing in pairwise(paragraphs):
        if heading[0].startswith("Unfolded in time"):
            return [_plain(" ".join(heading)).removesuffix(":"), *(line.removeprefix("    ") for line in drawing)]
    return []


def _plain(text: str) -> str:
    return re.sub(" {3,}", "   ", text.replace("`", "").replace("*", ""))
