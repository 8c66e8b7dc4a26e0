"""Where the files of a run's corpus are, seen from where it is read again."""

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from charrnn.config import TrainConfig

Config = TypeVar("Config", bound=TrainConfig)


def relative_to(config: Config, directory: Path | None) -> Config:
    """The configuration with paths relative to `directory` as they are from here."""
    if directory is None or directory == Path.cwd():
        return config
    valid = None if config.valid is None else str(directory / config.valid)
    return replace(config, corpus=tuple(str(directory / path) for path in config.corpus), valid=valid)
