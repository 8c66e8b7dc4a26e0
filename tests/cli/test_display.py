"""What is drawn while training: on a terminal of 80 columns, and after a signal."""

import io
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pexpect
import pyte
import pytest
from helpers_cli import write_names
from rich.console import Console

from charrnn.checkpoint import RunDirectory
from charrnn.cli import train_display
from charrnn.cli.signals import StopSignals
from charrnn.cli.train_display import Animation, Display, Lines
from charrnn.cli.train_report import figures, position, share_done
from charrnn.training.loop import Metrics, Progress
from charrnn.training.schedule import Schedule

PROGRESS = Progress(
    schedule=Schedule.for_steps(0.01, 12_345), step=9_876, elapsed_seconds=4000.0, best_loss=2.0, best_step=9_000
)
METRICS = Metrics(
    step=9_876, epoch=123.456, loss=2.5, learning_rate=0.01, grad_norm=1.0, chars_per_second=123_456.7,
    elapsed_seconds=4000.0,
)  # fmt: skip


class Terminal:
    """A console and the screen of 80 by 24 that its output makes."""

    def __init__(self, columns: int = 80) -> None:
        self._screen = pyte.Screen(columns, 24)
        self._stream = pyte.Stream(self._screen)
        self._file = io.StringIO()
        self.console = Console(
            file=self._file,
            force_terminal=True,
            width=columns,
            height=24,
            markup=False,
            emoji=False,
            highlight=False,
        )

    def lines(self) -> list[str]:
        """What stands on the screen now, without the empty end."""
        self._stream.feed(self._file.getvalue().replace("\n", "\r\n"))
        self._file.seek(0)
        self._file.truncate()
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip("\n").split("\n")


@pytest.fixture
def now(monkeypatch):
    """A clock that stands still until it is moved."""
    time = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(train_display.time, "monotonic", lambda: time.seconds)
    return time


def open_on(terminal: Terminal, kind: type[Lines], monkeypatch) -> Lines:
    monkeypatch.setattr(train_display, "console", lambda _stream, _gone: terminal.console)
    return kind(StopSignals(), budget_given=True, verbose=False)


def test_the_figures_fit_a_terminal_of_80_columns():
    assert len(figures(2.0, PROGRESS, METRICS, "char")) <= 80
    assert len(position(PROGRESS, METRICS, 3000.0)) <= 70


def test_what_is_drawn_over_and_what_stays(monkeypatch, now):
    terminal = Terminal()
    with open_on(terminal, Animation, monkeypatch) as display:
        display.waiting("loading torch")
        assert terminal.lines() == ["loading torch …"]
        for share in (1, 2):
            now.seconds += 1
            display.reading(share * 10**9, 2 * 10**9)
            (line,) = terminal.lines()
            assert line.endswith(f"reading {share},000/2,000 MB")
        now.seconds += 1
        display.stepped(PROGRESS, METRICS, 3000.0)
        bar, below = terminal.lines()
        assert bar.endswith("step 9,876/12,345  epoch 123.46  1:06:40, 50:00 left")
        assert below == "train 2.500 nats/char = 3.607 bits/char  best 2.885 bits/char  123,457 chars/s"
        display.logged(replace(METRICS, loss=2.25))
        display.validating()
        assert terminal.lines() == ["validating …"]
        display.validated(PROGRESS, 2.0, True)
        display.validated(PROGRESS, 2.1, False)
        display.sampled("\x1b[31mone\n" + "x" * 100 + "\nthree\nfour")
        now.seconds += 1
        display.stepped(PROGRESS, METRICS, 3000.0)
        *stays, bar, below = terminal.lines()
        assert stays == [
            "step 9,876  train 2.250  valid 2.000 nats/char = 2.885 bits/char *",
            "step 9,876  train 2.250  valid 2.100 nats/char = 3.030 bits/char",
            "  > \\x1b[31mone",
            "  > " + "x" * 75 + "…",
            "  > three",
        ]
        display.planned(PROGRESS)
        display.stopping()
    assert terminal.lines() == [
        *stays, "12,345 steps fit into the budget", "stopping after this step, to save; once more stops at once"
    ]  # fmt: skip


@pytest.mark.parametrize("columns", [20, 40, 60])
def test_a_narrow_terminal_has_two_lines_too(columns, monkeypatch, now):
    terminal = Terminal(columns)
    with open_on(terminal, Animation, monkeypatch) as display:
        now.seconds += 1
        display.stepped(PROGRESS, METRICS, 3000.0)
        assert len(terminal.lines()) == 2


def test_frames_and_samples_come_now_and_then(monkeypatch, now):
    terminal = Terminal()
    with open_on(terminal, Animation, monkeypatch) as display:
        now.seconds += 1
        display.stepped(PROGRESS, METRICS, 3000.0)
        before = terminal.lines()
        display.stepped(replace(PROGRESS, step=10_000), METRICS, 3000.0)
        assert terminal.lines() == before
        for text in ("first", "too soon"):
            display.sampled(text)
        now.seconds += 60
        display.sampled("later")
        display.validated(replace(PROGRESS, step=12_345), 2.0, True)
        display.sampled("at the end")
    assert [line for line in terminal.lines() if ">" in line] == ["  > first", "  > later", "  > at the end"]


def test_plain_lines_come_every_few_seconds(monkeypatch, now):
    terminal = Terminal(200)
    display = open_on(terminal, Lines, monkeypatch)
    for seconds in range(1, 12):
        now.seconds = 1000.0 + seconds
        display.stepped(replace(PROGRESS, step=seconds), METRICS, None)
    assert [line.split()[1] for line in terminal.lines()] == ["5/12,345", "10/12,345"]


def test_the_training_loss_is_a_mean_of_the_last_rows():
    display = Display(StopSignals())
    assert display.train_loss is None
    for loss in range(1, 31):
        display.logged(replace(METRICS, loss=float(loss)))
    assert display.train_loss == pytest.approx(sum(range(21, 31)) / 10)


@pytest.mark.parametrize(
    ("steps", "step", "elapsed", "left", "share"),
    [(100, 25, 9.0, 99.0, 0.25), (None, 7, 30.0, 90.0, 0.25), (None, 0, 0.0, None, 0.0)],
)
def test_the_share_of_a_budget(steps, step, elapsed, left, share):
    progress = Progress(schedule=Schedule.for_steps(1.0, steps), step=step, elapsed_seconds=elapsed)
    assert share_done(progress, left) == share


# Signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_first_signal_asks_and_the_second_stops(number, code):
    heard = []
    before = signal.getsignal(number)
    with StopSignals() as signals:
        signals.defer(lambda: heard.append(number))
        assert not signals()
        os.kill(os.getpid(), number)
        assert signals()
        assert (heard, signals.exit_code) == ([number], code)
        with pytest.raises(SystemExit) as stopped:
            os.kill(os.getpid(), number)
        assert stopped.value.code == code
    assert signal.getsignal(number) is before


def test_a_signal_stops_at_once_while_there_is_nothing_to_save():
    with StopSignals(), pytest.raises(SystemExit) as stopped:
        os.kill(os.getpid(), signal.SIGTERM)
    assert stopped.value.code == 143


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not signals()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def long_run(root: Path, corpus: Path) -> list[str]:
    return [
        "-m", "charrnn", "train", str(corpus), "--checkpoints", str(root), "--steps", "1000000",
        "--hidden-size", "8", "--threads", "1", "--eval-every", "50",
    ]  # fmt: skip


def test_ctrl_c_in_a_terminal_saves_and_says_how_to_go_on(tmp_path):
    root, corpus = tmp_path / "checkpoints", write_names(tmp_path)
    child = pexpect.spawn(
        sys.executable, long_run(root, corpus), dimensions=(24, 80), encoding="utf-8", timeout=120,
        env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    drawn = io.StringIO()
    child.logfile_read = drawn
    child.expect(r"valid .* bits/char \*")
    child.sendintr()
    child.expect("go on with")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    screen = pyte.Screen(80, 24)
    pyte.Stream(screen).feed(drawn.getvalue())
    text = "\n".join(screen.display)
    assert not screen.cursor.hidden
    saved = int(re.search(r"interrupted after step ([\d,]+) and saved", text)[1].replace(",", ""))
    assert RunDirectory(root / "names").steps()[-1] == saved
    assert f"charrnn train --resume --name names --checkpoints {root}" in text.replace("\n", "")


@pytest.mark.slow
def test_sigterm_saves_and_says_how_to_go_on(tmp_path):
    root, corpus = tmp_path / "checkpoints", write_names(tmp_path)
    with subprocess.Popen([sys.executable, *long_run(root, corpus)], stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith("step 50 "):
                process.send_signal(signal.SIGTERM)
                break
        last = process.stderr.read().splitlines()[-1]
    assert process.returncode == 143
    step = RunDirectory(root / "names").steps()[-1]
    again = f"charrnn train --resume --name names --checkpoints {root}"
    assert last == f"interrupted after step {step:,} and saved; go on with: {again}"


def test_a_run_that_is_stopped_before_its_first_step(tmp_path):
    corpus = tmp_path / "pipe"
    os.mkfifo(corpus)
    command = [sys.executable, *long_run(tmp_path / "checkpoints", corpus)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        with open(corpus, "w"):  # Opened for reading by now: the command waits for text that does not come.
            process.send_signal(signal.SIGINT)
            process.wait(timeout=120)
        assert process.stderr.read() == "interrupted: nothing was trained yet\n"
    assert process.returncode == 130
