"""The layers of a configuration, with the options of its cell, and a check that they can be built."""

from typing import Any

from charrnn.cells import CELLS, option_names
from charrnn.config import DEPTHS, Option, ResolvedConfig, StopName, TrainConfig, flag
from charrnn.errors import UsageError
from charrnn.models.encoder import Encoder, EncoderConfig
from charrnn.models.language_model import GeneratorConfig, LanguageModel


def cell_options(config: TrainConfig) -> dict[str, Option]:
    """The values chosen for the cell's own options.

    Raises UsageError for a value that the cell does not accept, and for an option that only other cells have.
    """
    owners = _owners()
    chosen = {name: value for name in owners if (value := getattr(config, name)) is not None}
    if config.has_output_edges:
        del chosen["feedback"]
    for name in chosen:
        if config.cell not in owners[name]:
            raise UsageError(
                f"--cell {config.cell} has no {flag(name)}; it is an option of {', '.join(owners[name])}"
            )
    try:
        _try_out(config, chosen)
    except ValueError as error:
        raise UsageError(f"--cell {config.cell}: {error}") from error
    return chosen


def _owners() -> dict[str, list[str]]:
    """For each option that not all cells have, the cells that have it."""
    owners: dict[str, list[str]] = {}
    for cell in CELLS:
        for name in option_names(cell):
            owners.setdefault(name, []).append(cell)
    return owners


def refuse_foreign(config: TrainConfig) -> None:
    """Raises UsageError for options that were set but would have no effect."""
    config.check()
    if reads_symbols(config):
        return
    for name in ("cell", "direction", *DEPTHS, *_owners()):
        asked = getattr(config, name)
        if asked not in (TrainConfig.__dataclass_fields__[name].default, None) and (
            name not in DEPTHS or asked > 1
        ):
            raise UsageError(
                f"{flag(name)} {asked}: leaves that are symbols are read by no cell; "
                "a cell reads those of --leaves characters"
            )


def _try_out(config: TrainConfig, chosen: dict[str, Option]) -> None:
    """Builds the task's models at their smallest size. Raises ValueError if they cannot be built."""
    tiny: dict[str, Any] = {name: getattr(config, name) or 1 for name in DEPTHS}
    tiny |= {"cell": config.cell, "cell_options": chosen, "vocab_size": 1, "hidden_size": 1, "num_layers": 1}
    edges = config.has_output_edges
    if config.task != "generate" and reads_symbols(config):
        _ = Encoder(EncoderConfig(**tiny), num_outputs=1).shapes
    if config.task in ("generate", "transduce") or edges:
        attention = config.attention if config.task == "transduce" and config.attention != "none" else None
        context = min(1, len(config.context)) if config.task == "generate" else 1
        given: dict[str, Any] = {"context_size": context, "context_mode": "add" if edges else config.context_mode}
        given |= {"attention": attention, "memory_size": 1 if attention else 0}
        stop: tuple[StopName, ...] = ("none",)
        _ = LanguageModel(GeneratorConfig(**tiny, **given, stop=stop, training_chars=1)).shapes


def reads_symbols(config: TrainConfig) -> bool:
    """Whether a cell reads the text: trees whose leaves are symbols need no cell."""
    return config.task != "tree" or config.leaves == "characters"


def layer_settings(config: ResolvedConfig) -> dict[str, Any]:
    """The fields of `LayersConfig` that a training configuration sets: all but the vocabulary size."""
    names = (*DEPTHS, "cell", "hidden_size", "num_layers", "embedding_size", "initial_state")
    return {name: getattr(config, name) for name in names} | {"cell_options": cell_options(config)}


def encoder_config(config: ResolvedConfig, layers: dict[str, Any], vocab_size: int) -> EncoderConfig:
    """The configuration of an encoder with this vocabulary size."""
    return EncoderConfig(
        **layers, vocab_size=vocab_size, direction=config.direction, language_model=config.lm_weight > 0
    )
