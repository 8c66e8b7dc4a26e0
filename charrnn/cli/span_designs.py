"""The options for the designs of `charrnn study span`: a cell, its training settings and its remedies."""

import shlex
from typing import TYPE_CHECKING, Any

import click

from charrnn.cli.options import Decorator, Function, Number, option
from charrnn.cli.train_options import one_cell_options
from charrnn.config import CELL_NAMES, flag
from charrnn.errors import UsageError

if TYPE_CHECKING:
    from charrnn.study.attempts import Design

CELLS = ("tanh", "lstm", "gru")

TRAINING, REMEDIES = "How each design is trained", "What may help it"

_DESIGN: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("--hidden-size",), {"type": click.IntRange(1, 65_536), "group": TRAINING, "metavar": "N",
      "show_default": "32", "help": "Units of the one layer."}),
    (("--batch-size",), {"type": click.IntRange(1), "group": TRAINING, "metavar": "N", "show_default": "32",
      "help": "Rows of a step, drawn afresh."}),
    (("--learning-rate",), {"type": Number(0, min_open=True), "group": TRAINING, "metavar": "X",
      "show_default": "0.003", "help": "Of Adam."}),
    (("--clip",), {"type": click.Choice(["norm", "value", "none"]), "group": REMEDIES, "show_default": "norm",
      "help": "Bound a gradient's norm, each of its entries, or nothing."}),
    (("--grad-clip",), {"type": Number(0, min_open=True), "group": REMEDIES, "metavar": "X",
      "show_default": "1", "help": "Where it is bounded."}),
    (("--init",), {"type": click.Choice(["default", "orthogonal", "identity"]), "group": REMEDIES,
      "show_default": "default", "help": "Where W starts; identity, for tanh and leaky, with b = 0 and small U."}),
    (("--flow-penalty",), {"type": Number(0), "group": REMEDIES, "metavar": "X", "show_default": "0",
      "help": "Weight of the penalty on steps that change a gradient's length."}),
]  # fmt: skip
_SIZES = ("hidden_size", "batch_size", "learning_rate")
_REMEDIES = ("clip", "grad_clip", "init", "flow_penalty")


def design_options(function: Function) -> Function:
    """The options of a design besides its cell; None for each one that was not set."""
    function = one_cell_options(function)
    for names, settings in reversed(_DESIGN):
        function = option(*names, **{"show_range": False} | settings)(function)
    return function


def cell_option(**settings: Any) -> Decorator:
    return option("--cell", type=click.Choice(CELL_NAMES), metavar="NAME", **settings)


@click.command("variant", add_help_option=False)
@cell_option(help="The cell.", required=True)
@design_options
def _variant(**_given: Any) -> None:
    """The options that a --variant may contain."""


def chosen_designs(
    cells: tuple[str, ...], variants: tuple[str, ...], given: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """The settings of each design, by its label. Raises UsageError."""
    designs = {name: {"cell": name, **given} for name in cells or (() if variants else CELLS)}
    for text in variants:
        label, colon, words = text.partition(":")
        label = label.strip()
        if not (colon and label):
            raise UsageError(f"--variant {text!r}: expected 'LABEL: --cell NAME OPTIONS'")
        if label in designs:
            raise UsageError(f"--variant {text!r}: there is a design {label!r} already")
        designs[label] = given | _parsed(label, words)
    return designs


def _parsed(label: str, words: str) -> dict[str, Any]:
    root = click.get_current_context().find_root()  # It holds the names of --help, which click caches.
    try:
        context = _variant.make_context("variant", shlex.split(words), root)
    except click.ClickException as error:
        raise UsageError(f"--variant {label!r}: {error.format_message()}") from error
    except ValueError as error:
        raise UsageError(f"--variant {label!r}: {error}") from error
    return {name: value for name, value in context.params.items() if value is not None}


def build_design(label: str, settings: dict[str, Any]) -> "Design":
    """Raises UsageError for an option that the cell does not have."""
    from charrnn.cells import CELLS, option_names
    from charrnn.study.attempts import Design
    from charrnn.study.remedies import Remedies

    cell = settings["cell"]
    options = {name: value for name, value in settings.items() if name not in ("cell", *_SIZES, *_REMEDIES)}
    for name in options:
        if name not in option_names(cell):
            owners = ", ".join(owner for owner in CELLS if name in option_names(owner))
            raise UsageError(
                f"{label}: {cell} has no {flag(name)}, which is of {owners}; give it in a --variant of those"
            )
    return Design(
        cell=cell,
        options=options,
        remedies=Remedies(**{name: settings[name] for name in _REMEDIES if name in settings}),
        **{name: settings[name] for name in _SIZES if name in settings},
    )
