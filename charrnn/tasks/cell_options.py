"""Which of a cell's own options were chosen, and whether a model can be built so."""

from typing import Any

from charrnn.cells import CELLS, option_names
from charrnn.config import DEPTHS, EncoderConfig, GeneratorConfig, Option, StopName, TrainConfig
from charrnn.errors import UsageError
from charrnn.models.encoder import Encoder
from charrnn.models.language_model import LanguageModel


def cell_options(config: TrainConfig) -> dict[str, Option]:
    """What was chosen among the cell's own options.

    Raises UsageError for a value that the cell cannot take, and for an option that only other cells have.
    """
    owners: dict[str, list[str]] = {}
    for cell in CELLS:
        for name in option_names(cell):
            owners.setdefault(name, []).append(cell)
    chosen = {name: value for name in owners if (value := getattr(config, name)) is not None}
    for name in chosen:
        if config.cell not in owners[name]:
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"--cell {config.cell} has no {flag}; it is an option of {', '.join(owners[name])}")
    depths: dict[str, Any] = {name: getattr(config, name) or 1 for name in DEPTHS}
    tiny: dict[str, Any] = {
        "cell": config.cell,
        "cell_options": chosen,
        "vocab_size": 1,
        "hidden_size": 1,
        **depths,
    }
    try:
        if config.task == "generate":
            size = min(1, len(config.context))
            given: dict[str, Any] = {"context_size": size, "context_mode": config.context_mode}
            stop: tuple[StopName, ...] = ("none",)
            _ = LanguageModel(GeneratorConfig(**tiny, **given, num_layers=1, stop=stop, training_chars=1)).shapes
        else:
            _ = Encoder(EncoderConfig(**tiny, num_layers=1), num_outputs=1).shapes
    except ValueError as error:
        raise UsageError(f"--cell {config.cell}: {error}") from error
    return chosen
