"""The text and figures reported before, during and after a training run. Draws nothing."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from charrnn.checkpoint import RunDirectory
from charrnn.config import ResolvedConfig, budget_of, flag
from charrnn.tasks.task import task
from charrnn.tasks.verdict import Rival, course_of, verdict
from charrnn.words import Facts, bits, budgets_words, clock, count, nats_and_bits, quality

if TYPE_CHECKING:
    from charrnn.tasks.run import Outcome
    from charrnn.tasks.task import Next
    from charrnn.training.loop import Metrics, Progress
    from charrnn.training.observer import Begun, Trial


def opening(begun: "Begun", *, budget_given: bool, verbose: bool) -> Facts:
    """What will be trained, on which data, and why that way; all settings if `verbose`."""
    record, config = begun.record, begun.record.config
    of = task(config.task)
    facts = of.data_words(begun.dataset)
    model = of.model_words(config, record.num_parameters)
    chosen = "" if budget_given else " (--minutes, --epochs or --steps set another)"
    budget = f"{budgets_words(record)}{chosen}; {count(config.threads, 'thread')}, seed {config.seed}"
    resumed = "" if begun.resumed_at is None else f", going on at step {begun.resumed_at:,}"
    facts.append(("Model", model))
    if begun.trial is not None:
        facts.append(("", _trial(begun.trial)))
    facts += [("Budget", budget), ("Run", f"{begun.run}{resumed}")]
    if verbose:
        settings = {name: value for name, value in vars(config).items() if value is not None}
        facts.append(("Settings", ", ".join(f"{name} {_shown(value)}" for name, value in settings.items())))
        facts.append(("Versions", ", ".join(f"{name} {version}" for name, version in record.versions.items())))
    return facts + [("Note", warning) for warning in (*begun.warnings, *_busy(config))]


def _trial(trial: "Trial") -> str:
    """Why these sizes were chosen."""
    return (
        f"chosen for a machine that reads {trial.chars_per_second:,.0f} characters a second with "
        f"{trial.hidden_size} units in {trial.precision} on {count(trial.threads, 'thread')}, by a trial of "
        f"{trial.seconds:.1f} s"
    )


def position(progress: "Progress", metrics: "Metrics", seconds_left: float | None) -> str:
    """How far the run is."""
    total = progress.schedule.steps
    of = "" if total is None else f"/{total:,}"
    left = "" if seconds_left is None else f", {clock(seconds_left)} left"
    return f"step {progress.step:,}{of}  epoch {metrics.epoch:.2f}  {clock(metrics.elapsed_seconds)}{left}"


def figures(loss: float, progress: "Progress", metrics: "Metrics", unit: str) -> str:
    """How good the model is, and how fast it learns; `loss` in nats per unit."""
    best = "" if progress.best_loss is None else f"  best {bits(progress.best_loss):.3f} bits/{unit}"
    return f"train {nats_and_bits(loss, unit)}{best}  {metrics.chars_per_second:,.0f} {unit}s/s"


def share_done(progress: "Progress", seconds_left: float | None) -> float:
    """The share of the budget that is used, 0 to 1."""
    if progress.schedule.steps is not None:
        return progress.step / progress.schedule.steps
    total = progress.elapsed_seconds + (seconds_left or 0.0)
    return progress.elapsed_seconds / total if total else 0.0


def validation_line(progress: "Progress", trained: float | None, loss: float, improved: bool, unit: str) -> str:
    """Losses in nats per unit; a star marks the best so far."""
    train = "" if trained is None else f"  train {trained:.3f}"
    return f"step {progress.step:,}{train}  valid {nats_and_bits(loss, unit)}{' *' if improved else ''}"


class Judged(NamedTuple):
    """How a run compares with a simpler model, and what would help it most."""

    rival: Rival | None = None
    verdict: str | None = None


def judged(begun: "Begun", outcome: "Outcome") -> Judged:
    """The verdict on a finished run; it may take some seconds."""
    config = begun.record.config
    of, loss = task(config.task), outcome.progress.best_loss
    rival = None if loss is None else of.rival(config, begun.dataset)
    return Judged(rival, verdict(loss, rival, course_of(RunDirectory(outcome.run)), of.unit))


def closing(
    begun: "Begun", outcome: "Outcome", last: "Metrics | None", loss: float | None, found: Judged, root: Path
) -> Facts:
    """The results and the commands to type next; `loss` is the training loss, nats per character."""
    progress, config = outcome.progress, begun.record.config
    of = task(config.task)
    done = f"{count(progress.step, 'step')}, {clock(progress.elapsed_seconds)}"
    if last is not None:
        done += f", {last.epoch:.2f} epochs, last gradient's norm {last.grad_norm:.3g}"
    facts = [
        ("Run", str(outcome.run)),
        ("Model", of.model_words(config, begun.record.num_parameters)),
        ("Trained", done + _why_it_ended(progress, config)),
    ]
    if loss is not None:
        facts.append(("Training", quality(loss, of.unit)))
    if progress.best_loss is not None:
        facts.append(("Validation", f"{quality(progress.best_loss, of.unit)} (step {progress.best_step:,})"))
    if found.verdict is not None:
        facts.append(("Verdict", found.verdict))
    first, *others = (_typed(outcome.run, root, command) for command in of.commands(config, begun.dataset))
    return [*facts, ("Next", first), *(("", other) for other in others)]


def _typed(run: Path, root: Path, next_one: "Next") -> str:
    """A command as it is typed, with the run's name, because a newer run may follow."""
    options = list(next_one.options)
    line = shlex.join(["charrnn", next_one.command, run.name, *options, *_where(root)])
    return f"{line}  # {next_one.note}" if next_one.note else line


def resume_command(run: Path, root: Path) -> str:
    return shlex.join(["charrnn", "train", "--resume", "--name", run.name, *_where(root)])


def finished_already(begun: "Begun", outcome: "Outcome", root: Path) -> str:
    """What a run that has nothing left to train says, and the command that trains it further."""
    config, progress = begun.record.config, outcome.progress
    unit, number = budget_of(config)
    done = f"{count(progress.step, 'step')}{_why_it_ended(progress, config)}"
    more = f"{resume_command(outcome.run, root)} {flag(unit)} {2 * number:.12g}"
    return f"{outcome.run.name}: finished already: {done}; a larger budget for the whole run trains it on: {more}"


def result(
    begun: "Begun", outcome: "Outcome", last: "Metrics | None", loss: float | None, found: Judged
) -> dict[str, Any]:
    """The fields of `charrnn train --json`."""
    progress = outcome.progress
    return {
        "run": outcome.run.name,
        "path": str(outcome.run),
        "finished": outcome.finished,
        "early_stopped": progress.early_stopped,
        "steps": progress.step,
        "epochs": None if last is None else last.epoch,
        "grad_norm": None if last is None else last.grad_norm,
        "elapsed_seconds": progress.elapsed_seconds,
        "loss": loss,
        "best_step": progress.best_step,
        "best_loss": progress.best_loss,
        "best_bits_per_char": None if progress.best_loss is None else bits(progress.best_loss),
        "baseline_loss": None if found.rival is None else found.rival.loss,
        "verdict": found.verdict,
        "num_parameters": begun.record.num_parameters,
        "stop": begun.record.config.stop,
        "seed": begun.record.config.seed,
    }


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _why_it_ended(progress: "Progress", config: ResolvedConfig) -> str:
    if progress.early_stopped:
        return f"; ended early: {count(config.patience or 0, 'validation')} without a gain (--patience)"
    total = progress.schedule.steps
    if total is not None and progress.step < total and config.minutes is not None:
        return f"; the machine slowed down: {total:,} steps were planned, the time is up"
    return ""


def _busy(config: ResolvedConfig) -> list[str]:
    """A notice if other work takes cores that the threads need; a --minutes run gives up a thread by itself."""
    threads = config.threads
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0]
    if config.minutes is not None or threads == 1 or load + threads < cores + 0.7:
        return []
    free = max(1, min(threads - 1, cores - round(load)))
    return [
        f"load average {load:.1f} on {count(cores, 'core')}: other work is running, and threads that wait for one "
        f"another lose much of their time; --threads {free} may be faster"
    ]


def _where(root: Path) -> list[str]:
    return [] if root == Path("checkpoints") else ["--checkpoints", str(root)]
