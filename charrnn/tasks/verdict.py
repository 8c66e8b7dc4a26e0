"""Advice: is a model better than a count-based one, how often was its text read, what would help most.

Everything is derived from a run's metrics and configuration, and from one simpler model.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from msgspec import Struct

from charrnn.checkpoint import RunDirectory
from charrnn.config import RunRecord
from charrnn.errors import CheckpointError

Advice = Literal["longer", "smaller", "text", "larger", "nothing"]

LAST_ROWS = 10
"""Rows of metrics that the training loss is averaged over: a twentieth of a run."""

OFTEN = 3.0
"""A model that has read its text fewer times than this has not memorised it, whatever the losses are."""

RISE = 0.01
"""A model memorises if its last validation loss is above its best by more than this share of the best."""

GAP = 0.1
"""A model memorises if its training loss is below its validation loss by more than this share of the latter."""

FEW = 10.0
"""A model that has read fewer bytes per parameter than this has not finished learning."""

FALL = 0.03
"""A validation loss that falls by more than this share over the second half of a run has not levelled off.

The falling learning rate lowers it in any run: names read 12 times fell by 2.5 %, names read 1.5 times by 2.8 %.
"""


@dataclass(frozen=True, kw_only=True)
class Course:
    """How a run went. Losses are in nats per character, or whatever the task divides by."""

    epochs: float
    """How often the training text was read."""
    trained: float | None
    """Final loss on the training text, with dropout; None if it is not comparable with the validation loss."""
    validations: tuple[tuple[int, float], ...]
    """Step and loss of each, in order."""
    bytes_per_parameter: float
    """Bytes of the corpus, counted once, divided by the number of parameters."""
    budget: str = "--minutes"
    """The option that makes such a run longer."""
    read: str = "text"


class Rival(NamedTuple):
    """A simpler model of the same held-out text."""

    name: str
    loss: float
    """In the unit of the model it is compared with."""


class _Row(Struct):
    step: int
    epoch: float
    loss: float | None
    eval_loss: float | None


def course_of(run: RunDirectory) -> Course | None:
    """How a run went, read from its files; None if they do not show it."""
    last: deque[_Row] = deque(maxlen=LAST_ROWS)
    validations = []
    try:
        if not run.run_path.is_file():
            return None
        record = run.read_run(RunRecord)
        for row in run.metrics(_Row):
            last.append(row)
            if row.eval_loss is not None:
                validations.append((row.step, row.eval_loss))
    except CheckpointError:
        return None
    if not last:
        return None
    config, losses = record.config, [row.loss for row in last if row.loss is not None]
    return Course(
        epochs=last[-1].epoch,
        trained=float(np.mean(losses)) if losses and not config.scheduled_sampling else None,
        validations=tuple(validations),
        bytes_per_parameter=record.corpus_bytes / max(record.num_parameters, 1),
        budget="--minutes" if config.minutes else "--epochs" if config.epochs else "--steps",
        read="text" if config.task == "generate" else "examples",
    )


def advice(course: Course) -> Advice | None:
    """What would help a run most, by the first of these that holds:

    smaller: the text is memorised, and has fewer bytes than the model has parameters;
    text: the text is memorised, though it has more;
    longer: few bytes were read for each parameter, or validation fell fast over the second half of the run;
    None: nothing was validated;
    larger: the training loss is no lower than the best validation loss;
    nothing: none of these.

    Memorised: read OFTEN times, and the validation loss rose after its best or is far above the training loss.
    """
    few = course.epochs * course.bytes_per_parameter < FEW
    if not course.validations:
        return "longer" if few else None
    end, last = course.validations[-1]
    best = min(loss for _, loss in course.validations)
    middle = [loss for step, loss in course.validations if 2 * step <= end]
    trained = last if course.trained is None else course.trained
    if course.epochs >= OFTEN and (last - best > RISE * abs(best) or last - trained > GAP * abs(last)):
        return "smaller" if course.bytes_per_parameter < 1 else "text"
    if few or (middle and middle[-1] - best > FALL * abs(middle[-1])):
        return "longer"
    return "larger" if course.trained is not None and trained >= best else "nothing"


def verdict(loss: float | None, rival: Rival | None, course: Course | None, unit: str = "char") -> str | None:
    """The sentences for a model with this loss (nats per unit); None if there is nothing to say."""
    sentences = []
    if loss is not None and rival is not None and rival.loss > 0:
        sentences.append(_compared(loss, rival, unit))
    if course is not None:
        sentences.append(_course_words(course))
    return " ".join(sentences) or None


def _compared(loss: float, rival: Rival, unit: str) -> str:
    share, ours, theirs = loss / rival.loss - 1, loss / math.log(2), rival.loss / math.log(2)
    if abs(share) < 0.005:
        return f"As good as counts: {ours:.2f} bits/{unit}, as many as {rival.name}."
    how, more = ("Better", "fewer") if share < 0 else ("Worse", "more")
    than = f"{abs(share):.0%} {more} than the {theirs:.2f} of {rival.name}"
    return f"{how} than counts: {ours:.2f} bits/{unit}, {than}."


def _course_words(course: Course) -> str:
    """How often the text was read, and the advice."""
    it = "it" if course.read == "text" else "them"
    more = f" and memorised {it}: more {course.read}"
    words: dict[Advice | None, str] = {
        "smaller": f"{more}, more dropout (--dropout) or a smaller model (--hidden-size) would help most",
        "text": f"{more} or more dropout (--dropout) would help most",
        "longer": f": a longer run would help most ({course.budget})",
        "larger": ": a larger model would help most (--hidden-size)",
        "nothing": ": no single change would help much",
        None: "",
    }
    return f"It read {_readings(course.epochs, f'the training {course.read}')}{words[advice(course)]}."


def _readings(epochs: float, what: str) -> str:
    """`16% of the text`, `the text 1.3 times`, `the text 26 times`."""
    if epochs < 0.995:
        return f"{f'{epochs:.0%}' if epochs >= 0.01 else 'less than 1%'} of {what}"
    times = f"{epochs:.1f}" if epochs < 9.95 else f"{epochs:,.0f}"
    return f"{what} {'once' if times == '1.0' else f'{times} times'}"
