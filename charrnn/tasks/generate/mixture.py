"""Samples over many contexts: what texts look like when nobody asks for one context in particular."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from charrnn.models.store import SavedModel
from charrnn.sampling.ancestral import Drawn, Request, Sampler
from charrnn.sampling.fix_context import fix_context
from charrnn.sampling.stepper import Stepper

MOST_CONTEXTS = 64
"""So many contexts stand for all."""


def steppers(saved: SavedModel, contexts: npt.NDArray[np.float32] | None, seed: int) -> list[Stepper]:
    """The model given each of MOST_CONTEXTS drawn from contexts (S, X); the model itself where there are none."""
    if contexts is None:
        return [Stepper(saved.model, saved.params)]
    rng = np.random.default_rng(seed)
    chosen = contexts[rng.permutation(len(contexts))[:MOST_CONTEXTS]]
    return [Stepper(*fix_context(saved.model, saved.params, x)) for x in chosen]


class Mixture:
    """Draws as many samples from each of several models."""

    def __init__(self, models: list[Stepper], request: Request) -> None:
        # A seed for each: two models should not see the same random numbers.
        self._samplers = [
            Sampler(model, replace(request, seed=request.seed + k)) for k, model in enumerate(models)
        ]

    def draw(self, samples: range) -> Iterator[Drawn]:
        """At least as many samples as asked for, a few more where they cannot be shared out evenly."""
        models = len(self._samplers)
        share = range(samples.start // models, -(-samples.stop // models))
        for sampler in self._samplers:
            yield from sampler.draw(share)
