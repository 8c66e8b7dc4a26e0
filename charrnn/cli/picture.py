"""Pictures in files, drawn by matplotlib, which is an extra: `pip install 'charrnn-text[plot]'`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.errors import CorpusError, UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(**settings: Any) -> "Figure":
    """Raises UsageError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("--picture needs matplotlib (the extra `plot`): pip install matplotlib") from error
    return Figure(layout="constrained", **settings)


def save(figure: "Figure", path: Path) -> None:
    """Raises UsageError for a file type that matplotlib cannot draw, CorpusError if it cannot write the file."""
    try:
        figure.savefig(path, dpi=150)
    except ValueError as error:
        raise UsageError(f"--picture {path}: {error}") from error
    except OSError as error:
        raise CorpusError(f"{path}: cannot be written: {error.strerror}") from error
