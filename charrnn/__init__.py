"""charrnn generates text character by character with recurrent networks.

    import charrnn
    run = charrnn.train("names.txt", minutes=1)
    model = charrnn.load(run)
    model.sample(5, temperature=0.8)
    model.score(["emma", "zzyzx"])

Echo state networks read signals of real numbers, x and y (T, 1):

    charrnn.EchoStateNetwork(units=500).fit(x, y).generate(100)

Importing this package imports nothing heavy; what is used is loaded when it is used.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = ["EchoStateNetwork", "Model", "__version__", "load", "train"]

if TYPE_CHECKING:
    from charrnn.api import Model, load, train
    from charrnn.models.echo_state_network import EchoStateNetwork


def __getattr__(name: str) -> Any:
    if name in ("Model", "load", "train"):
        from charrnn import api

        return getattr(api, name)
    if name == "EchoStateNetwork":
        from charrnn.models.echo_state_network import EchoStateNetwork

        return EchoStateNetwork
    raise AttributeError(f"module 'charrnn' has no attribute {name!r}")
