"""Finds the most probable class of a text, from a model of texts given their class.

    p(x | y) = p(y | x) p(x) / Σ_x' p(y | x') p(x')

p(y | x) is the exact likelihood from `score`, ending included; p(x) is each class's share of the training rows.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import log_softmax
from charrnn.config import StopName
from charrnn.corpus.columns import Column, encode_columns, log_prior, parse_given
from charrnn.errors import UsageError
from charrnn.models.store import SavedModel
from charrnn.sampling.prediction import Prediction, most_probable
from charrnn.sampling.scoring import choose_stop, score_batch

ROWS = 256
"""Pairs of a text and a class that are scored at once."""


def posterior(
    saved: SavedModel, texts: Iterable[str], *, given: Sequence[str] = (), stop: StopName | None = None, n: int = 5
) -> Iterator[Prediction]:
    """For every text, in order, the n most probable values of the column that is not given.

    given: `NAME=VALUE` for every column but one of categories. Raises UsageError if that leaves none or several.
    """
    columns = saved.config.columns
    target = _target(columns, given)
    chosen = choose_stop(saved.model, stop)
    contexts, prior = _contexts(columns, target, given), log_prior(target)
    remaining = iter(texts)
    while batch := list(itertools.islice(remaining, max(1, ROWS // len(contexts)))):
        repeated = [text for text in batch for _ in contexts]
        scores = score_batch(saved, repeated, chosen, np.tile(contexts, (len(batch), 1)))
        log_p = -np.array([score.nll for score in scores]).reshape(len(batch), -1)
        for text, p in zip(batch, np.exp(log_softmax(log_p + prior)), strict=True):
            yield most_probable(text, target.values, p, n)


def _target(columns: Sequence[Column], given: Sequence[str]) -> Column:
    names = [column.name for column in columns]
    named = {name for item in given for name in names if item.startswith(f"{name}=")}
    unnamed = [column for column in columns if column.name not in named]
    if len(unnamed) != 1 or not unnamed[0].values:
        categories = [column.name for column in columns if column.values]
        raise UsageError(
            f"give every column but one of categories, --given NAME=VALUE; the model has {', '.join(names)}, "
            f"of categories {', '.join(categories) or 'none'}"
        )
    return unnamed[0]


def _contexts(columns: Sequence[Column], target: Column, given: Sequence[str]) -> npt.NDArray[np.float32]:
    """(K, X) a context for each value of the target."""
    others = [column for column in columns if column is not target]
    known = dict(zip((column.name for column in others), parse_given(others, given), strict=True))
    K = len(target.values)
    values = [target.values if column is target else [known[column.name]] * K for column in columns]
    return encode_columns(columns, values, lambda _: "--given")
