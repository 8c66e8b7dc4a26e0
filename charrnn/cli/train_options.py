"""The options of `charrnn train`: one for each field of `TrainConfig`, made from its definition."""

import difflib
import re
import tomllib
import types
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, Literal, Union, get_args, get_origin

import click
import msgspec
from click.core import ParameterSource

from charrnn.cli.options import Number, option
from charrnn.config import (
    BUDGETS,
    ENDING_STOPS,
    HEADINGS,
    MAX_SEED,
    ONE_CELL,
    STOP_NAMES,
    Setting,
    TrainConfig,
    flag,
    ordered_stops,
    setting_types,
    settings,
)
from charrnn.errors import UsageError


def settings_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """An option for each field of the configuration, under the field's name."""
    ordered = sorted(settings().items(), key=lambda item: HEADINGS.index(item[1].heading))
    for name, setting in reversed(ordered):
        function = _option(name, setting)(function)
    return function


def one_cell_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of single cells, under their fields' names."""
    for name, setting in reversed(settings().items()):
        if setting.heading == ONE_CELL:
            function = _option(name, replace(setting, common=True))(function)
    return function


def given_settings(ctx: click.Context, config_file: str | None) -> dict[str, Any]:
    """The configuration values that were set explicitly, on the command line or else in the file."""
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
        try:
            given["stop"] = ordered_stops(given["stop"])
        except UsageError as error:
            raise click.UsageError(str(error), ctx) from error
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
    hints = {"corpus": tuple[str, ...], **setting_types()}
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


def _option(name: str, setting: Setting) -> Callable[..., Any]:
    default = TrainConfig.__dataclass_fields__[name].default
    kind: Any = click.Choice([*STOP_NAMES, "all"]) if name == "stop" else _click_type(setting_types()[name])
    number = isinstance(kind, click.IntRange | click.FloatRange)
    several = isinstance(default, tuple)
    return option(
        f"{flag(name)}/--no-{flag(name)[2:]}" if kind is click.BOOL else flag(name),
        name,
        type=click.IntRange(0, MAX_SEED) if name == "seed" else kind,
        default=default,
        show_default=setting.unset if default is None else default != (),
        show_range=number and (kind.min, kind.max) != (None, None),
        metavar=setting.metavar or ("N" if isinstance(kind, click.IntRange) else "X" if number else None),
        group=setting.heading,
        help=setting.help,
        common=setting.common,
        multiple=several,
    )


def _click_type(hint: Any) -> Any:
    """The type of an option, with the bounds and choices of a field's annotation."""
    parts = _without_none(hint.__origin__)
    # Python joins the annotations of an annotated type with those around it.
    outer = [meta for meta in hint.__metadata__ if isinstance(meta, msgspec.Meta)]
    choices = [choice for part in parts if get_origin(part) is Literal for choice in get_args(part)]
    if choices:
        return click.Choice(choices)
    (part,) = parts
    bounds: dict[str, Any] = {}
    for meta in (*getattr(part, "__metadata__", ()), *outer):
        bounds = {
            "min": meta.ge if meta.gt is None else meta.gt,
            "max": meta.le if meta.lt is None else meta.lt,
            "min_open": meta.gt is not None,
            "max_open": meta.lt is not None,
        }
    plain = getattr(part, "__origin__", part)
    if plain is tuple:
        return click.STRING
    if plain is bool:
        return click.BOOL
    if plain is int:
        return click.IntRange(**bounds)
    return Number(**bounds) if plain is float else click.STRING


def _without_none(hint: Any) -> list[Any]:
    if get_origin(hint) in (Union, types.UnionType):
        return [part for arg in get_args(hint) for part in _without_none(arg)]
    return [] if hint is type(None) else [hint]
