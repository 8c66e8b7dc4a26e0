"""How well a model generates from its own characters, measured by a simpler model.

In training and in `eval` a network reads true text; when it samples, it reads its own samples, and may reach
states that it has never seen (exposure bias: Bengio et al. 2015; Goodfellow, Bengio and Courville, *Deep
Learning*, section 10.2.1). The n-gram of the training text is a judge that has seen neither samples nor held-out
text; its losses on the two are compared. Samples with a much higher loss have drifted away from the text; samples
with a much lower loss repeat themselves.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.config import StopName
from charrnn.metrics.ngram import NGram
from charrnn.models.store import SavedModel
from charrnn.sampling.ancestral import Request
from charrnn.tasks.generate.mixture import Mixture, steppers

CHARS = 20_000
"""Characters to sample, roughly."""

ROWS, STREAM = 256, 80
"""Endless streams are sampled ROWS at once, STREAM characters each."""


@dataclass(frozen=True, kw_only=True)
class FreeRunning:
    """The n-gram's loss in nats per character, including endings if the network's texts have them."""

    order: int
    num_chars: int
    ngram_loss_sampled: float
    ngram_loss_held_out: float


def free_running(
    saved: SavedModel,
    stop: StopName,
    ngram: NGram,
    order: int,
    held_out_loss: float,
    contexts: npt.NDArray[np.float32] | None = None,
    *,
    seed: int,
) -> FreeRunning | None:
    """The n-gram's loss on samples from the initial state at temperature 1; None if they have no characters."""
    endless = stop == "none"
    request = Request(stop=stop, num_chars=STREAM if endless else None, max_chars=CHARS // 8, seed=seed)
    sampler = Mixture(steppers(saved, contexts, seed), request)
    nats, chars, first = 0.0, 0, 0
    while chars < CHARS and first < CHARS:
        for drawn in sampler.draw(range(first, first + ROWS)):
            whole = not endless and drawn.finish_reason != "max_chars"
            symbols = np.append(drawn.symbols, [saved.vocabulary.eos] * whole)
            nats += float(ngram.nll(symbols, open_start=endless)[order].sum())
            chars += len(drawn.symbols)
        first += ROWS
    if not chars or not math.isfinite(nats):
        return None
    return FreeRunning(
        order=order, num_chars=chars, ngram_loss_sampled=nats / chars, ngram_loss_held_out=held_out_loss
    )
