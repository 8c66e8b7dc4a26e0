"""charrnn generates text character by character with recurrent networks.

    import charrnn
    run = charrnn.train("names.txt", minutes=1)
    model = charrnn.load(run)
    model.sample(5, temperature=0.8)
    model.score(["emma", "zzyzx"])

Importing this package imports nothing heavy; what is used is loaded when it is used.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = ["Model", "__version__", "load", "train"]

if TYPE_CHECKING:
    from charrnn.api import Model, load, train


def __getattr__(name: str) -> Any:
    if name in ("Model", "load", "train"):
        from charrnn import api

        return getattr(api, name)
    raise AttributeError(f"module 'charrnn' has no attribute {name!r}")
