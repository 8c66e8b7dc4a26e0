"""A short trial of the machine: how fast a model of one shape learns on it, in each precision that it has."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from charrnn.config import Precision, ResolvedConfig
from charrnn.tasks.job import Job
from charrnn.tasks.observer import Trial
from charrnn.training.memory import keep_big_blocks
from charrnn.training.optimizer import Optimizer

STEPS = 4
"""That are timed, after one that is not: it loads what the others use."""


def try_out(job_of: Callable[[Precision], Job], precisions: Sequence[Precision], root: Path) -> Trial:
    """Trains a model that is thrown away for some steps in each precision. The first one must work.

    job_of: the run as it would be in a precision, on all its data.
    """
    begin = time.perf_counter()
    speeds: dict[Precision, float] = {}
    for precision in precisions:
        job = job_of(precision)
        try:
            speeds[precision] = _chars_per_second(job, root)
        except RuntimeError:
            # A processor that claims a precision may still lack one of the products that the kernels need.
            if not speeds:
                raise
    fastest = max(speeds, key=lambda precision: speeds[precision])
    return Trial(
        hidden_size=job.config.hidden_size,
        precision=fastest,
        chars_per_second=speeds[fastest],
        seconds=time.perf_counter() - begin,
    )


def _chars_per_second(job: Job, root: Path) -> float:
    config: ResolvedConfig = job.config
    torch.set_num_threads(config.threads)
    keep_big_blocks()
    learner = job.learner(job.initial_params(root), torch.device("cpu"))
    optimizer = Optimizer.of(config, learner.trained)
    took: list[float] = []
    read = 0
    for step in range(1 + STEPS):
        begin = time.perf_counter()
        nats, terms, chars = learner.next_loss(step, 0.0)
        (nats / max(terms, 1)).backward()  # type: ignore[no-untyped-call]
        optimizer.step(0.0)
        for parameter in learner.trained.values():
            parameter.grad = None
        took.append(time.perf_counter() - begin)
        read += chars
    # Nearly the fastest: what else the machine does for a moment says nothing of a longer run.
    return read / (1 + STEPS) / max(sorted(took)[1], 1e-9)
