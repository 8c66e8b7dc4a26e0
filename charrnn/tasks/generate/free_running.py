"""How well a model generates from its own characters, measured by a simpler model.

In training and in `eval` a network reads true text; when it samples, it reads its own samples, and may reach
states that it has never seen (exposure bias: Bengio et al. 2015; Goodfellow, Bengio and Courville, *Deep
Learning*, section 10.2.1). The n-gram of the training text is a judge that has seen neither samples nor held-out
text; its losses on the two are compared. Samples with a much higher loss have drifted away from the text; samples
with a much lower loss repeat themselves.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.config import StopName
from charrnn.metrics.ngram import NGram
from charrnn.models.store import SavedModel
from charrnn.sampling.ancestral import Drawn, Request
from charrnn.tasks.generate.mixture import Mixture, steppers

CHARS = 20_000
"""Characters that the n-gram reads, roughly."""

MOST_CHARS = 400_000
"""Characters that may be drawn, roughly."""

ROWS = 64
"""Texts that are drawn at first, all at once; so no text may be longer than MOST_CHARS // ROWS."""

STREAM = 320
"""Characters of a sample of an endless stream."""


@dataclass(frozen=True, kw_only=True)
class FreeRunning:
    """The n-gram's loss in nats per character, including endings if the network's texts have them."""

    order: int
    num_chars: int
    ngram_loss_sampled: float
    ngram_loss_held_out: float


def draw_texts(
    saved: SavedModel,
    stop: StopName,
    contexts: npt.NDArray[np.float32] | None = None,
    *,
    least: int = 0,
    cut_at: int = CHARS // 8,
    seed: int,
    notify: Callable[[str, float], object] = lambda _what, _share: None,
) -> list[Drawn]:
    """Texts drawn from the initial state at temperature 1, in contexts (S, X), by their numbers.

    There are `least` texts and CHARS characters, but fewer where that takes more than MOST_CHARS characters.
    """
    endless = stop == "none"
    request = Request(
        stop=stop,
        num_chars=STREAM if endless else None,
        max_chars=cut_at,
        cut_log_prob=False,
        seed=seed,
    )
    sampler = Mixture(steppers(saved, contexts, seed), request)
    drawn: list[Drawn] = []
    chars, wanted = 0, ROWS
    while wanted > len(drawn):
        found = []
        for sample in sampler.draw(range(len(drawn), wanted)):
            found.append(sample)
            notify("sampling", min(1.0, (len(drawn) + len(found)) / max(least, wanted)))
        drawn += sorted(found, key=lambda sample: sample.number)
        chars = sum(len(sample.symbols) for sample in drawn)
        per_text = max(chars / len(drawn), 1.0)
        enough = max(least, math.ceil(CHARS / per_text))
        wanted = min(2 * len(drawn), enough, int(MOST_CHARS / per_text), CHARS)
    return drawn


def free_running(
    saved: SavedModel, drawn: list[Drawn], ngram: NGram, order: int, held_out_loss: float
) -> FreeRunning | None:
    """The n-gram's loss on the first of the drawn texts; None if they have no characters."""
    nats, chars = 0.0, 0
    for sample in drawn:
        endless = sample.finish_reason == "num_chars"
        ended = not endless and sample.finish_reason != "max_chars"
        symbols = np.append(sample.symbols, [saved.vocabulary.eos] * ended)
        nats += float(ngram.nll(symbols, open_start=endless)[order].sum())
        chars += len(sample.symbols)
        if chars >= CHARS:
            break
    if not chars or not math.isfinite(nats):
        return None
    return FreeRunning(
        order=order, num_chars=chars, ngram_loss_sampled=nats / chars, ngram_loss_held_out=held_out_loss
    )
