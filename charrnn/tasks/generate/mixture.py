"""Samples over many contexts, for figures that do not depend on one context in particular."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from charrnn.models.store import SavedModel
from charrnn.sampling.ancestral import Drawn, Request, Sampler
from charrnn.sampling.fix_context import fix_context
from charrnn.sampling.stepper import Stepper

MOST_CONTEXTS = 64
"""At most this many contexts represent all."""


def steppers(saved: SavedModel, contexts: npt.NDArray[np.float32] | None, seed: int) -> list[Stepper]:
    """The model in each of MOST_CONTEXTS drawn from contexts (S, X); the model itself if there are none."""
    if contexts is None:
        return [Stepper(saved.model, saved.params)]
    rng = np.random.default_rng(seed)
    chosen = contexts[rng.permutation(len(contexts))[:MOST_CONTEXTS]]
    return [Stepper(*fix_context(saved.model, saved.params, x)) for x in chosen]


class Mixture:
    """Draws the same number of samples from each of several models."""

    def __init__(self, models: list[Stepper], request: Request) -> None:
        # Each has its own seed: two models should not see the same random numbers.
        self._samplers = [
            Sampler(model, replace(request, seed=request.seed + k)) for k, model in enumerate(models)
        ]

    def draw(self, samples: range) -> Iterator[Drawn]:
        """At least the requested number of samples, a few more if they cannot be divided evenly."""
        models = len(self._samplers)
        share = range(samples.start // models, -(-samples.stop // models))
        for sampler in self._samplers:
            yield from sampler.draw(share)
