"""What a budget of seconds buys: charrnn with no flag but its budget, beside a plain LSTM given the same seconds.

    python tests/benchmarks/quality.py data/tinyshakespeare.txt --seconds 10 60 180 600 --seeds 1 2 3

All train on the first 90 % of the text and read the last 10 % once, as one stream with the state carried. Runs
follow one another, each in processes of its own, so that all have the same machine at about the same time.
"""

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

Figures = dict[str, Any]
RIVALS = Path(__file__).with_name("rivals.py")
NEIGHBOUR = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    for _ in range(10**6): pass"
"""Keeps one core busy for as long as its parent lives."""


class Setting(NamedTuple):
    """Of the plain LSTM."""

    hidden: int
    batch: int
    rate: float
    dropout: float = 0.0
    bf16: bool = False

    def arguments(self) -> list[str]:
        numbers = [f"--{name}={value}" for name, value in self._asdict().items() if name != "bf16"]
        return [*numbers, *["--bf16"] * self.bf16]


SETTINGS = {
    10: (Setting(256, 32, 2e-2, bf16=True), Setting(256, 16, 1e-2), Setting(256, 16, 1e-2, bf16=True)),
    60: (Setting(384, 32, 1e-2, bf16=True), Setting(512, 32, 1e-2, bf16=True), Setting(256, 16, 6e-3)),
    180: (
        Setting(512, 32, 8e-3, 0.15, bf16=True),
        Setting(384, 32, 1e-2, 0.15, bf16=True),
        Setting(512, 32, 5e-3, 0.2),
    ),
    600: (Setting(512, 32, 8e-3, 0.3, bf16=True), Setting(512, 32, 6e-3, 0.3), Setting(384, 32, 8e-3, 0.2)),
}
"""By seconds: what was found to train the plain LSTM best, the best first, and what came close to it."""


def settings_for(seconds: float, *, bf16: bool, every: bool) -> tuple[Setting, ...]:
    """Those of the budget that is nearest by its ratio, or the best of them; bf16 only where it may be."""
    nearest = min(SETTINGS, key=lambda budget: abs(math.log(budget / seconds)))
    found = tuple(setting for setting in SETTINGS[nearest] if bf16 or not setting.bf16)
    return found if every else found[:1]


# One run ---------------------------------------------------------------------------------------------------


def python(*arguments: str | Path) -> str:
    """The stdout of a Python process; its stderr is shown if it fails."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, arguments))}\n{done.stderr}exit code {done.returncode}")
    return done.stdout


@contextmanager
def neighbour(busy: bool) -> Iterator[None]:
    """Where asked for, a process that computes for as long as the block runs."""
    process = subprocess.Popen([sys.executable, "-c", NEIGHBOUR]) if busy else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


def read_metrics(run: Path) -> list[Figures]:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def landing(metrics: list[Figures]) -> tuple[float, float]:
    """The seconds that a run took, and its last learning rate as a share of its largest."""
    rates = [row["learning_rate"] for row in metrics]
    return metrics[-1]["elapsed_seconds"], rates[-1] / max(rates)


def passed_after(metrics: list[Figures], loss: float) -> float | None:
    """The seconds to the first validation that is as good as a loss."""
    times = (
        row["elapsed_seconds"] for row in metrics if row.get("eval_loss") is not None and row["eval_loss"] <= loss
    )
    return next(times, None)


def charrnn(text: Path, seconds: float, seed: int, root: Path, *, busy: bool) -> Figures:
    """Trains with a budget and a seed alone, then evaluates the best checkpoint."""
    name, checkpoints = f"{seconds:g}s-seed-{seed}", f"--checkpoints={root}"
    parts = ("--split=file", "--stop=none", "--valid-fraction=0.1", "--test-fraction=0")
    budget = (f"--minutes={seconds / 60!r}", f"--seed={seed}", f"--name={name}")
    with neighbour(busy):
        python("-m", "charrnn", "train", text, *parts, *budget, checkpoints)
    report = json.loads(python("-m", "charrnn", "eval", name, "--part=valid", "--json", checkpoints))
    metrics = read_metrics(root / name)
    took, last_rate = landing(metrics)
    epochs = metrics[-1]["epoch"]
    return {
        "model": report["model"],
        "run": name,
        "seconds": took,
        "loss": report["loss"],
        "cold_loss": report["cold"]["loss"],
        "epochs": epochs,
        "chars_per_second": epochs * int(0.9 * len(text.read_text(encoding="utf-8"))) / took,
        "last_rate": last_rate,
    }


def plain_lstm(text: Path, seconds: float, seed: int, setting: Setting, *, busy: bool) -> Figures:
    with neighbour(busy):
        line = python(RIVALS, "lstm", text, f"--seconds={seconds}", f"--seed={seed}", *setting.arguments())
    return {**json.loads(line), "setting": setting._asdict()}


def small_gpt(text: Path, *, busy: bool) -> Figures:
    with neighbour(busy):
        figures: Figures = json.loads(python(RIVALS, "gpt", text))
    return figures


# The table -------------------------------------------------------------------------------------------------


def mean_and_spread(losses: list[float]) -> str:
    """The mean, and with several seeds their standard deviation."""
    spread = f" ± {stdev(losses):.3f}" if len(losses) > 1 else ""
    return f"{fmean(losses):.3f}{spread}"


def extent(shares: Iterable[float]) -> str:
    """The smallest and the largest of some shares in per cent, or the one that they round to."""
    percents = sorted({round(100 * share) for share in shares})
    return f"{'-'.join(map(str, dict.fromkeys((percents[0], percents[-1]))))} %" if percents else ""


def best_setting(runs: list[Figures]) -> list[Figures]:
    """Of the plain LSTM's runs with one budget, those of the setting with the lowest mean loss."""
    groups: dict[str, list[Figures]] = {}
    for run in runs:
        groups.setdefault(json.dumps(run["setting"]), []).append(run)
    return min(groups.values(), key=lambda group: fmean(run["loss"] for run in group))


def table(runs: list[Figures], gpt: Figures | None) -> Table:
    """A row for each budget and each of the two, over seeds; then the GPT's."""
    shown = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("budget", "who", "model"):
        shown.add_column(name)
    for name in ("nats/char", "epochs", "chars/s", "of\ntime", "last\nrate"):
        shown.add_column(name, justify="right")
    for budget in dict.fromkeys(run["budget"] for run in runs):
        for who in ("charrnn", "plain"):
            group = [run for run in runs if (run["budget"], run["who"]) == (budget, who)]
            if group:
                shown.add_row(f"{budget:g} s", who, *_cells(group if who == "charrnn" else best_setting(group)))
    if gpt is not None:
        shown.add_row(f"{gpt['seconds']:.0f} s", "plain", *_cells([gpt]))
    return shown


def _cells(group: list[Figures]) -> list[str]:
    """Of runs that differ in the seed alone."""
    return [
        ", ".join(dict.fromkeys(run["model"] for run in group)),
        mean_and_spread([run["loss"] for run in group]),
        f"{fmean(run['epochs'] for run in group):.2f}",
        f"{fmean(run['chars_per_second'] for run in group):,.0f}",
        extent(run["seconds"] / run["budget"] for run in group if "budget" in run),
        extent(run["last_rate"] for run in group if "last_rate" in run),
    ]


def against_gpt(gpt: Figures) -> str:
    """Sentences on the GPT and on what charrnn did in an eighth of its time."""
    short, passed, budget = gpt["charrnn_in_an_eighth"], gpt["charrnn_passed_after"], gpt["charrnn_budget"]
    when = "never passed that" if passed is None else f"passed that after {passed:.1f} s"
    return (
        f"The GPT took {gpt['seconds']:.1f} s for {gpt['loss']:.3f} nats/char with at least 48 characters of "
        f"context, {gpt['loss_in_blocks']:.3f} in blocks of 64. By its own validations charrnn's run of "
        f"{budget:g} s {when}. In an eighth of the GPT's time, {short['budget']:.1f} s, charrnn reached "
        f"{short['loss']:.3f}, from a cold state in blocks of 64 {short['cold_loss']:.3f}."
    )


# The command -----------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--seconds", type=float, nargs="+", default=[10, 60, 180], help="budgets")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--settings", choices=["best", "all"], default="best", help="of the plain LSTM")
    parser.add_argument("--busy", action="store_true", help="another process computes beside each training run")
    parser.add_argument("--gpt", action="store_true", help="train a small GPT too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every run's figures")
    parser.add_argument("--checkpoints", type=Path, metavar="DIR", help="keep charrnn's runs here")
    a = parser.parse_args()
    with TemporaryDirectory() as folder:
        measure(a, a.checkpoints or Path(folder))


def measure(a: argparse.Namespace, root: Path) -> None:
    from rivals import has_bf16  # loads torch

    # Threads that wait for one another sleep soon, as charrnn's do: a busy machine slows no rival by spinning.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    console, log = Console(), Console(stderr=True)
    runs: list[Figures] = []
    gpt: Figures | None = None

    def write() -> None:
        if a.json is not None:
            found = {"text": str(a.text), "busy": a.busy, "cores": os.cpu_count(), "runs": runs, "gpt": gpt}
            a.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")

    def add(who: str, seconds: float, seed: int, figures: Figures) -> None:
        runs.append({"budget": seconds, "seed": seed, "who": who, **figures})
        log.print(f"{seconds:g} s, seed {seed}: {who} {figures['model']}: {figures['loss']:.4f} nats/char")
        write()

    for seconds in a.seconds:
        settings = settings_for(seconds, bf16=has_bf16(), every=a.settings == "all")
        for seed in a.seeds:
            add("charrnn", seconds, seed, charrnn(a.text, seconds, seed, root, busy=a.busy))
            for setting in settings:
                add("plain", seconds, seed, plain_lstm(a.text, seconds, seed, setting, busy=a.busy))
    if a.gpt:
        gpt = small_gpt(a.text, busy=a.busy)
        longest = max((run for run in runs if run["who"] == "charrnn"), key=lambda run: run["budget"])
        eighth = round(gpt["seconds"] / 8, 2)
        gpt["charrnn_budget"] = longest["budget"]
        gpt["charrnn_passed_after"] = passed_after(read_metrics(root / longest["run"]), gpt["loss"])
        gpt["charrnn_in_an_eighth"] = {
            "budget": eighth,
            **charrnn(a.text, eighth, a.seeds[0], root, busy=a.busy),
        }
        write()
    console.print(table(runs, gpt))
    if gpt is not None:
        console.print(against_gpt(gpt))


if __name__ == "__main__":
    main()
