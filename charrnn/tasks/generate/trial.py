"""A short trial of the machine: how fast a model of one shape trains on it, in each precision."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from charrnn.config import Precision
from charrnn.training.environment import tune_malloc
from charrnn.training.job import Job
from charrnn.training.observer import Trial
from charrnn.training.optimizer import Optimizer

STEPS = 3
"""Timed steps, after an untimed one that loads what they use."""

SUSPICIOUS = 25_000.0
"""Below this many characters a second another program may hold a core, so one thread fewer is tried too."""

MUCH_FASTER = 1.3
"""One thread fewer must be faster by this factor: models larger than the tried one gain more from all threads."""


def try_out(
    job_of: Callable[[Precision, int], Job], precisions: Sequence[Precision], threads: int, root: Path
) -> Trial:
    """Trains a throw-away model for some steps, in each precision, and perhaps with one thread fewer.

    job_of: the run in a given precision and with a given number of threads, on all its data. A precision after the
    first is skipped if the model cannot be trained in it.
    """
    begin = time.perf_counter()
    speeds: dict[Precision, float] = {}
    for precision in precisions:
        try:
            speeds[precision] = _chars_per_second(job_of(precision, threads), root)
        except RuntimeError:
            # A processor that claims a precision may still lack one of the products that the kernels need.
            if not speeds:
                raise
    fastest = max(speeds, key=lambda precision: speeds[precision])
    speed = speeds[fastest]
    if threads > 1 and speed < SUSPICIOUS:
        with_fewer = _chars_per_second(job_of(fastest, threads - 1), root)
        if with_fewer > MUCH_FASTER * speed:
            threads, speed = threads - 1, with_fewer
    return Trial(
        hidden_size=job_of(fastest, threads).config.hidden_size,
        precision=fastest,
        threads=threads,
        chars_per_second=speed,
        seconds=time.perf_counter() - begin,
    )


def _chars_per_second(job: Job, root: Path) -> float:
    torch.set_num_threads(job.config.threads)
    tune_malloc()
    learner = job.learner(job.initial_params(root), torch.device("cpu"))
    optimizer = Optimizer.of(job.config, learner.trained)
    took: list[float] = []
    read = 0
    for step in range(1 + STEPS):
        begin = time.perf_counter()
        loss = learner.next_loss(step, 0.0)
        loss.mean.backward()  # type: ignore[no-untyped-call]
        optimizer.step(0.0)
        for parameter in learner.trained.values():
            parameter.grad = None
        took.append(time.perf_counter() - begin)
        read += loss.chars
    # The second fastest step: a moment's other load on the machine says nothing about a longer run.
    return read / (1 + STEPS) / max(sorted(took)[1], 1e-9)
