"""The paths of a run's corpus, as seen from the folder where it is read again."""

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from charrnn.config import TrainConfig

Config = TypeVar("Config", bound=TrainConfig)


def relative_to(config: Config, directory: Path | None) -> Config:
    """The configuration with paths relative to `directory` rewritten for the current folder."""
    if directory is None or directory == Path.cwd():
        return config
    valid = None if config.valid is None else str(directory / config.valid)
    return replace(config, corpus=tuple(str(directory / path) for path in config.corpus), valid=valid)
