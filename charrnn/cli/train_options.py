"""The options of `charrnn train`: one for each field of `TrainConfig`, its bounds and choices read from there."""

import difflib
import re
import tomllib
import types
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import click
import msgspec
from click.core import ParameterSource

from charrnn.cli.options import Number, option, ordered_stops
from charrnn.config import ENDING_STOPS, MAX_SEED, STOP_NAMES, TrainConfig
from charrnn.errors import UsageError

BUDGETS = ("minutes", "epochs", "steps")

MODEL, ONE_CELL, STOPPING, TEXT = "Model", "Model: what only some cells have", "How texts end", "Text"
PAIRS = "A sequence for a sequence (--task tag, transduce)"
LABELLED = "A label or a number for each text (--task classify, tree)"
READ = "Inputs that are read as wholes (--task classify, tag, transduce)"
TREES = "A label or a number for each tree (--task tree)"
GIVEN = "Text in a table (.tsv, .csv), given its other columns"
BUDGET, OPTIMISATION, RUN = "Budget (one of them; by default a few minutes)", "Optimisation", "Run"

# Field, heading, help. None as a default means that it is chosen to fit the corpus, unless said otherwise.
_SETTINGS: list[tuple[str, str, str]] = [
    ("minutes", BUDGET, "Wall time from the first to the last step."),
    ("epochs", BUDGET, "Passes over the training text; may be a fraction."),
    ("steps", BUDGET, "Optimisation steps."),
    ("cell", MODEL, "Recurrent cell; `charrnn cells` lists them."),
    ("hidden_size", MODEL, "Units of a layer."),
    ("num_layers", MODEL, "Layers, one above the other."),
    ("embedding_size", MODEL, "Of the trained vector that each symbol is read as; 0: one-hot vectors."),
    ("input_depth", MODEL, "Layers between the characters and the units, the units' own included."),
    ("transition_depth", MODEL, "Layers between a step's units and the next step's."),
    ("output_depth", MODEL, "Layers between the units and the outputs, the outputs' own included."),
    ("dropout", MODEL, "Share of each layer's outputs that is dropped in training."),
    ("weight_dropout", MODEL, "Share of the recurrent weights that is dropped in training."),
    ("initial_state", MODEL, "State before the first character."),
    ("forget_bias", ONE_CELL, "Of LSTMs: the forget gate's first bias."),
    ("memory_span", ONE_CELL, "Of lstm: steps that first memories last, up to this; 0: one bias."),
    ("reset_gate", ONE_CELL, "Of gru: it acts after or before the matrix product."),
    ("leak_alpha", ONE_CELL, "Of leaky, echo_state: the memory's share, such as 0.9, 0:0.9 or learned."),
    ("spectral_radius", ONE_CELL, "Of echo_state: the largest eigenvalue of its fixed recurrent weights."),
    ("input_scaling", ONE_CELL, "Of echo_state: bound of its fixed input weights and biases."),
    ("skip_delay", ONE_CELL, "Of skip: delays of the long connections, such as 5 or 5,20."),
    ("remove_short", ONE_CELL, "Of skip: no connection of one step."),
    (
        "feedback",
        ONE_CELL,
        "Of output_recurrent: the true output, or the model's own, is fed back. Of --task tag: each "
        "output depends on those before it.",
    ),
    ("delay_levels", ONE_CELL, "Of time_delay: it sees 2 to the power of this many characters."),
    ("split", TEXT, "What a sequence is; auto looks at the text and says what it chose."),
    ("order", TEXT, "Are sequences independent, as names are, or ordered, as in a book?"),
    ("encoding", TEXT, "Text encoding of the files."),
    ("valid", TEXT, "Validation text, instead of a part of the corpus."),
    ("valid_fraction", TEXT, "Share of the corpus for validation."),
    ("test_fraction", TEXT, "Share of the corpus for `charrnn eval`."),
    ("hold_out", TEXT, "Hold out all copies of a text (values), or single rows; auto: rows where many repeat."),
    ("task", MODEL, "Generate text, classify it, tag each symbol, transduce it into other text, or read trees."),
    ("label_column", LABELLED, "Column of what is predicted (NAME:category, NAME:number decide)."),
    ("pooling", LABELLED, "The last output of each direction, or the mean or maximum of all."),
    (
        "composition",
        TREES,
        "What makes a node of its children: of two (tanh, tree_lstm), of any number (child_sum).",
    ),
    ("leaves", TREES, "A leaf is one symbol, or is read character by character by --cell."),
    ("node_labels", TREES, "Each bracket begins with the label of its node; there is no column of labels."),
    ("direction", READ, "How an input is read."),
    ("source_sep", READ, "What stands between the symbols of an input."),
    ("symbol_dropout", READ, "Share of an input's symbols that are read as unknown in training."),
    ("lm_weight", READ, "What predicting an input's own symbols counts for at first; it wanes in training."),
    ("source_column", PAIRS, "Column of the inputs."),
    ("target_column", PAIRS, "Column of the outputs."),
    ("target_sep", PAIRS, "What stands between the symbols of an output, such as a space."),
    ("attention", PAIRS, "Of transduce: how the decoder looks back at the input."),
    ("text_column", GIVEN, "Column of the text, by name, or by number without a header."),
    ("context_mode", GIVEN, "It acts at every step, as the initial state, or both."),
    ("batch_size", OPTIMISATION, "Sequences, or lanes of a text, side by side."),
    ("bptt_steps", OPTIMISATION, "Characters between truncations of the gradient."),
    ("learning_rate", OPTIMISATION, "Peak rate; it falls over the budget."),
    ("optimizer", OPTIMISATION, "Adam, or Muon for the matrices of cells and Adam for the rest."),
    ("precision", OPTIMISATION, "Of the matrix products in training; bfloat16 where the processor has it."),
    ("weight_decay", OPTIMISATION, "Decoupled weight decay."),
    ("grad_clip", OPTIMISATION, "Largest norm of a gradient."),
    ("eval_every", OPTIMISATION, "Steps between validations."),
    ("washout", OPTIMISATION, "Characters after an initial state that are read and not fitted."),
    ("scheduled_sampling", OPTIMISATION, "Share of the characters read that the model draws itself, at the end."),
    ("patience", OPTIMISATION, "Stop after this many validations without a gain."),
    ("save_every", RUN, "Steps between saves beside those at validations."),
    ("keep", RUN, "Checkpoints to keep, beside the best."),
    ("seed", RUN, "Of every random choice."),
    ("threads", RUN, "CPU threads."),
    ("device", RUN, "cpu, cuda or auto."),
    ("init_from", RUN, "Begin with the weights of another run where they fit."),
]

_WHEN_NONE = {
    "minutes": None,
    "epochs": None,
    "steps": None,
    "valid": None,
    "init_from": None,
    "patience": "never",
    "eval_every": "ten times a run",
    "save_every": "once a minute",
    "valid_fraction": "5 %, at most 500,000 characters",
    "test_fraction": "5 %, at most 500,000 characters",
    "output_depth": "1; min_gru, min_lstm 2",
    "text_column": "the only other",
    "symbol_dropout": "fits the task",
    "lm_weight": "fits the task",
    "label_column": "the first of two",
    "source_column": "the first",
    "target_column": "the second",
    "seed": "random",
    "threads": "one a core, at most 4",
    "forget_bias": "1",
    "reset_gate": "after",
    "leak_alpha": "0:0.5; echo_state 0",
    "spectral_radius": "0.9",
    "input_scaling": "1",
    "skip_delay": "5",
    "remove_short": "no",
    "feedback": "target",
    "delay_levels": "5",
}
_METAVARS = {
    "valid": "FILE",
    "text_column": "NAME",
    "label_column": "NAME",
    "source_sep": "TEXT",
    "target_sep": "TEXT",
    "source_column": "NAME",
    "target_column": "NAME",
    "init_from": "RUN",
    "cell": "NAME",
    "device": "NAME",
    "encoding": "NAME",
    "leak_alpha": "X",
    "skip_delay": "N,...",
}


def settings_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """All options that set a field of the configuration, under the field's name."""
    for name, heading, help in reversed(_SETTINGS):
        function = _setting(name, heading, help)(function)
        if name == "split":
            function = _stop(function)
        elif name == "context_mode":
            function = _context(function)
    return function


def one_cell_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Those of what only some cells have, under their fields' names."""
    for name, heading, help in reversed(_SETTINGS):
        if heading == ONE_CELL:
            function = _setting(name, heading, help)(function)
    return function


def given_settings(ctx: click.Context, config_file: str | None) -> dict[str, Any]:
    """The configuration values that were asked for explicitly: the command line's, else the file's."""
    on_line = {
        field.name: ctx.params[field.name]
        for field in fields(TrainConfig)
        if ctx.get_parameter_source(field.name) is ParameterSource.COMMANDLINE and ctx.params[field.name] != ()
    }
    in_file = read_config_file(config_file) if config_file is not None else {}
    if any(budget in on_line for budget in BUDGETS):
        in_file = {key: value for key, value in in_file.items() if key not in BUDGETS}
    given = in_file | on_line
    if "stop" in given:
        given["stop"] = ordered_stops(given["stop"])
    asked = [f"--{budget}" for budget in BUDGETS if budget in given]
    if len(asked) > 1:
        raise click.UsageError(f"{' and '.join(asked)} set one budget; give one of them", ctx)
    return given


def read_config_file(path: str) -> dict[str, Any]:
    """The values of a TOML file whose keys are fields of `TrainConfig`. Raises UsageError."""
    try:
        with open(path, "rb") as file:
            text = file.read().decode()
        values = tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 at byte offset {error.start}; TOML is always UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not TOML: {error}") from error
    hints = _hints()
    for key, value in values.items():
        where = f"{path}{_line_of(key, text)}"
        if key not in hints:
            close = difflib.get_close_matches(key, hints, n=1)
            meant = f"did you mean {close[0]}?" if close else "`charrnn train -h` lists the options"
            raise UsageError(f"{where}: no setting is called {key!r}; {meant}")
        if key in ("corpus", "stop", "context") and isinstance(value, str):
            value = [value]
        if key == "stop" and value == ["all"]:
            value = ENDING_STOPS
        try:
            values[key] = msgspec.convert(value, type=hints[key], strict=True)
        except msgspec.ValidationError as error:
            raise UsageError(f"{where}: {key}: {str(error).replace(' | null', '')}") from error
    return values


def _line_of(key: str, text: str) -> str:
    for number, line in enumerate(text.splitlines(), start=1):
        if re.match(rf"""\s*["']?{re.escape(key)}["']?\s*=""", line):
            return f", line {number}"
    return ""


def _setting(name: str, heading: str, help: str) -> Callable[..., Any]:
    default = TrainConfig.__dataclass_fields__[name].default
    kind = _click_type(_hints()[name])
    number = isinstance(kind, click.IntRange | click.FloatRange)
    flag = "--" + name.replace("_", "-")
    return option(
        f"{flag}/--no-{flag[2:]}" if kind is click.BOOL else flag,
        name,
        type=click.IntRange(0, MAX_SEED) if name == "seed" else kind,
        default=default,
        show_default=_WHEN_NONE.get(name, "fits the corpus") if default is None else True,
        show_range=number and (kind.min, kind.max) != (None, None),
        metavar=_METAVARS.get(name) or ("N" if isinstance(kind, click.IntRange) else "X" if number else None),
        group=heading,
        help=help,
        **({"is_flag": False, "flag_value": "target"} if name == "feedback" else {}),
    )


_stop = option(
    "--stop",
    type=click.Choice([*STOP_NAMES, "all"]),
    multiple=True,
    default=TrainConfig.__dataclass_fields__["stop"].default,
    show_default=True,
    group=STOPPING,
    help="A symbol that ends the text (eos), an output that may halt it, or its length drawn first; repeat it, or "
    "say all, for a model with several; none for an endless stream.",
)


_context = option(
    "--context",
    multiple=True,
    metavar="NAME",
    group=GIVEN,
    help="A column that the text is conditioned on, a category or a number (NAME:category, NAME:number decide); "
    "repeat it for several.",
)


@cache
def _hints() -> dict[str, Any]:
    return get_type_hints(TrainConfig, include_extras=True)


def _click_type(hint: Any) -> Any:
    """The type of an option, with the bounds and choices of a field's annotation."""
    parts = _without_none(hint)
    choices = [choice for part in parts if get_origin(part) is Literal for choice in get_args(part)]
    if choices:
        return click.Choice(choices)
    (part,) = parts
    bounds: dict[str, Any] = {}
    for meta in getattr(part, "__metadata__", ()):
        bounds = {
            "min": meta.ge if meta.gt is None else meta.gt,
            "max": meta.le if meta.lt is None else meta.lt,
            "min_open": meta.gt is not None,
            "max_open": meta.lt is not None,
        }
    plain = getattr(part, "__origin__", part)
    if plain is bool:
        return click.BOOL
    if plain is int:
        return click.IntRange(**bounds)
    return Number(**bounds) if plain is float else click.STRING


def _without_none(hint: Any) -> list[Any]:
    if get_origin(hint) in (Union, types.UnionType):
        return [part for arg in get_args(hint) for part in _without_none(arg)]
    return [] if hint is type(None) else [hint]
