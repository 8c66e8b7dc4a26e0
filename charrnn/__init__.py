"""charrnn generates text character by character with recurrent networks.

    import charrnn
    run = charrnn.train("names.txt", minutes=1)     # or a list of texts; the run's folder
    model = charrnn.load(run)
    model.sample(5, temperature=0.8)                # texts with their probabilities
    model.score(["emma", "zzyzx"])                  # exact log-likelihoods
    charrnn.evaluate(run)                           # the fields of `charrnn eval --json`

`load` serves runs of every task: what it returns for one that classifies, tags, transduces or reads trees has
`predict`. Errors derive from `CharRNNError`. Echo state networks read signals of real numbers, x and y (T, 1):

    charrnn.EchoStateNetwork(units=500).fit(x, y).generate(100)

Importing this package imports nothing heavy; what is used is loaded when it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = ["CharRNNError", "EchoStateNetwork", "Model", "Sample", "__version__", "evaluate", "load", "train"]

if TYPE_CHECKING:
    from charrnn.api import Model, Sample, evaluate, load, train
    from charrnn.errors import CharRNNError
    from charrnn.models.echo_state_network import EchoStateNetwork

_HOMES = {"CharRNNError": "charrnn.errors", "EchoStateNetwork": "charrnn.models.echo_state_network"}


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(_HOMES.get(name, "charrnn.api")), name)
    raise AttributeError(f"module 'charrnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
