"""Compares designs on one text at equal training time and, if requested, at equal size.

Each is trained by `charrnn train` in its own process, with its own threads and memory, and measured by one full
pass over the held-out part. An interrupted comparison continues where it stopped: unfinished runs are resumed,
and finished ones are only measured.
"""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from charrnn.checkpoint import RunDirectory, resolve_checkpoint
from charrnn.config import TrainConfig
from charrnn.errors import CharRNNError, CorpusError, UsageError
from charrnn.models.language_model import LanguageModel
from charrnn.models.store import load_model
from charrnn.tasks.generate.data import Dataset
from charrnn.tasks.generate.defaults import resolve
from charrnn.tasks.generate.evaluate import evaluate
from charrnn.tasks.generate.held_out import held_out
from charrnn.tasks.generate.train import model_config
from charrnn.training.loop import Metrics

POLL_SECONDS = 0.2
DIVERGED = 5
"""The exit code of a run that diverged: it gets a row of the table and does not end the comparison."""

SIZE_TOLERANCE = 0.05

Notify = Callable[[str, float], object]


@dataclass(frozen=True)
class Variant:
    """A design: its label and its options for `charrnn train`."""

    label: str
    options: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One run. Its figures are None if training diverged."""

    label: str
    seed: int
    run: str
    model: str | None = None
    parameters: int | None = None
    steps: int | None = None
    epochs: float | None = None
    chars_per_second: float | None = None
    """Training speed, the median over the run."""
    loss: float | None = None
    """Nats per character of the held-out text."""


def equal_hidden_size(config: TrainConfig, dataset: Dataset, target: int) -> int:
    """The hidden size whose parameter count is nearest to the target. Raises UsageError beyond ± 5 %."""

    def parameters(units: int) -> int:
        resolved = resolve(replace(config, hidden_size=units, seed=config.seed or 0), dataset)
        return LanguageModel(model_config(resolved, dataset)).num_parameters

    low, high = 1, 2
    while parameters(high) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if parameters(middle) < target else (low, middle)
    units = min((low, high), key=lambda n: abs(parameters(n) - target))
    if abs(parameters(units) - target) > SIZE_TOLERANCE * target:
        raise UsageError(f"--equal-size: no number of units gives {target:,} parameters within 5 %")
    return units


@dataclass
class Comparison:
    """Trains and measures every variant with every seed, `jobs` at a time."""

    corpus: str
    variants: Sequence[Variant]
    seeds: Sequence[int]
    common: Sequence[str]
    """Options of `charrnn train` for all variants: a budget, how the text is read."""
    root: Path
    jobs: int = 1
    seconds: float | None = None
    """The expected time of a run, if it is known before one has ended."""
    notify: Notify = lambda _what, _share: None
    """Called with the current task and the share of all work that is done."""
    _running: dict[str, "subprocess.Popen[str]"] = field(default_factory=dict)
    _begun: dict[str, float] = field(default_factory=dict)
    _took: list[float] = field(default_factory=list)

    def results(self) -> Iterator[Compared]:
        """Yields results in the order in which the runs end. Raises CharRNNError if a run fails to train."""
        waiting = [(variant, seed) for seed in self.seeds for variant in self.variants]
        total, done = len(waiting), 0
        asked = {self._name(variant, seed): (variant, seed) for variant, seed in waiting}
        if len(asked) < total:
            raise UsageError("two variants have one name")
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self.jobs:
                    self._begin(*waiting.pop(0))
                self._tell(done, total)
                time.sleep(POLL_SECONDS)
                for name, process in list(self._running.items()):
                    if process.poll() is not None:
                        del self._running[name]
                        self._took.append(time.monotonic() - self._begun[name])
                        yield self._measured(name, *asked[name], process)
                        done += 1
        finally:
            for process in self._running.values():
                process.terminate()
            for process in self._running.values():
                process.communicate()

    def _tell(self, done: int, total: int) -> None:
        """Reports what is being trained and the overall progress, estimated from the time that a run takes."""
        what = f"training {', '.join(self._running)}, {done} of {total} done"
        each = max(self._took, default=self.seconds)
        if each is None:
            self.notify(what, done / total)
            return
        now = time.monotonic()
        part = sum(min(1.0, (now - self._begun[name]) / each) for name in self._running)
        left = each * (total - done - part) / min(self.jobs, total - done)
        minutes, seconds = divmod(round(left), 60)
        self.notify(f"{what}, {minutes}:{seconds:02} left", (done + part) / total)

    def _name(self, variant: Variant, seed: int) -> str:
        words = f"{Path(self.corpus).stem} {variant.label} {seed}"
        return re.sub("[^a-z0-9]+", "-", words.lower()).strip("-")

    def _begin(self, variant: Variant, seed: int) -> None:
        name = self._name(variant, seed)
        self._begun[name] = time.monotonic()
        command = [sys.executable, "-m", "charrnn", "train", self.corpus, *self.common, *variant.options]
        command += ["--seed", str(seed), "--name", name, "--checkpoints", str(self.root), "--quiet"]
        command += ["--resume"] if (self.root / name).exists() else []
        self._running[name] = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # A Ctrl-C then reaches this process alone, which lets the runs save.
        )

    def _measured(self, name: str, variant: Variant, seed: int, process: "subprocess.Popen[str]") -> Compared:
        result = Compared(label=variant.label, seed=seed, run=name)
        said = process.communicate()[1].strip().splitlines()
        if process.returncode == DIVERGED:
            return result
        if process.returncode:
            error = CharRNNError(f"{name}: {said[-1].removeprefix('Error: ') if said else 'training failed'}")
            error.exit_code = max(process.returncode, CharRNNError.exit_code)
            raise error
        found = resolve_checkpoint(name, self.root)
        saved = load_model(found)
        text = held_out(found, self.root)
        if not text.sequences.num_chars:
            raise CorpusError(f"{name}: no held-out text; give --valid-fraction or --test-fraction")
        stop = saved.model.stops[0]
        report = evaluate(saved, text, stop=stop, run=name, step=found.step, samples=0)
        rows = list(RunDirectory(self.root / name).metrics(Metrics))
        return replace(
            result,
            model=report.model,
            parameters=saved.model.num_parameters,
            steps=rows[-1].step,
            epochs=rows[-1].epoch,
            chars_per_second=median(row.chars_per_second for row in rows),
            loss=report.loss,
        )
