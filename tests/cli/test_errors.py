"""Exit codes, one-line errors, and standard streams that are closed, full or gone."""

import errno
import os
import subprocess
import sys

import click
import pytest
from helpers_cli import fail, invoke

from charrnn.cli.errors import ReaderGoneError, describe
from charrnn.errors import (
    CharRNNError,
    CheckpointError,
    CorpusError,
    DivergedError,
    GateError,
    InterruptedTrainingError,
    ResourceError,
    RunLockedError,
    UsageError,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("no"), 2),
        (CorpusError("no"), 3),
        (CheckpointError("no"), 4),
        (DivergedError("no"), 5),
        (ResourceError("no"), 6),
        (RunLockedError("no"), 7),
        (GateError("no"), 8),
        (CharRNNError("no"), 1),
        (click.UsageError("no"), 2),
        (ValueError("no"), 1),
        (OSError(errno.EACCES, "no"), 1),
        (MemoryError(), 6),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), 6),
        (RuntimeError("no"), 1),
        (OSError(errno.ENOSPC, "no space", "/some/file"), 6),
        (OSError(errno.EDQUOT, "quota"), 6),
    ],
)
def test_an_error_has_its_exit_code_and_says_so(error, code):
    found, line = describe(error)
    assert found == code
    assert line.startswith("Error: ")
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [(KeyboardInterrupt(), 130), (click.Abort(), 130), (ReaderGoneError(), 141), (BrokenPipeError(), 141)],
)
def test_some_ends_are_silent(error, code):
    assert describe(error) == (code, "")


def test_an_interruption_is_told_but_is_no_error():
    assert describe(InterruptedTrainingError("saved", 143)) == (143, "saved")


def test_an_unexpected_error_points_to_debug():
    _, line = describe(KeyError("x"))
    assert "KeyError" in line
    assert "--debug" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], "did you mean train?"),
        (["zzz"], "there are train, sample, eval, predict, score, info"),
        (["train"], "no CORPUS"),
        (["train", "x", "--hidden-sise", "3"], "--hidden-size"),
        (["train", "x", "--minutes", "0"], "--minutes"),
        (["train", "x", "--minutes", "nan"], "not a finite number"),
        (["train", "x", "--epochs", "inf"], "not a finite number"),
        (["train", "x", "--steps", "0"], "--steps"),
        (["train", "x", "--hidden-size", "65537"], "--hidden-size"),
        (["train", "x", "--dropout", "1"], "--dropout"),
        (["train", "x", "--cell", "transformer"], "lstm"),
        (["train", "x", "--forget-bias", "nan"], "not a finite number"),
        (["train", "x", "--minutes", "1", "--steps", "3"], "--minutes and --steps"),
        (["train", "x", "--stop", "none", "--stop", "eos"], "--stop none"),
        (["train", "x", "--stop", "none", "--stop", "all"], "--stop none"),
        (["train", "--resume", "--overwrite", "--name", "x"], "give one of them"),
        (["train", "x", "--overwrite"], "--name"),
        (["sample", "-n", "0"], "--num-samples"),
        (["sample", "--temperature", "-0.1"], "--temperature"),
        (["sample", "--top-p", "0"], "--top-p"),
        (["sample", "--top-p", "1.01"], "--top-p"),
        (["sample", "--min-p", "1.01"], "--min-p"),
        (["sample", "--top-k", "0"], "--top-k"),
        (["sample", "--checkpoint", "first"], "neither best, last nor a step"),
        (["sample", "--num-chars", "3", "--max-chars", "3"], "--max-chars"),
        (["sample", "--json", "--print0"], "--print0"),
        (["sample", "a", "b"], "unexpected extra argument"),
        (["score", "a", "b", "c"], "at most a RUN and a FILE"),
        (["eval", "a", "b", "--part", "test"], "--part"),
        (["eval", "--split", "line"], "--split"),
    ],
)
def test_a_usage_error_is_one_line_that_says_where_to_look(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = fail(2, *arguments)
    assert words in line
    assert line.endswith(" -h)")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "nowhere.txt"], 3, "nowhere.txt: no such file"),
        (["train", "--resume"], 4, "no run"),
        (["train", "--resume", "--name", "gone"], 4, "gone"),
        (["sample"], 4, "`charrnn train CORPUS` makes one"),
        (["sample", "gone"], 4, "gone"),
        (["info", "gone"], 4, "gone"),
        (["score", "gone"], 3, "neither a run"),
        (["eval", "gone"], 3, "neither a run"),
    ],
)
def test_what_is_missing_is_named(arguments, code, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert words in fail(code, *arguments)


def test_an_unforeseen_error_ends_with_1_and_one_line(tmp_path, monkeypatch):
    def broken(*_):
        raise KeyError("x")

    monkeypatch.setattr("charrnn.checkpoint.list_runs", broken)
    assert "--debug" in fail(1, "info", "--checkpoints", tmp_path)


def test_debug_shows_the_traceback(tmp_path):
    result = invoke("info", "gone", "--checkpoints", tmp_path, "--debug")
    assert result.exit_code == 4
    assert "Traceback" in result.stderr
    assert "Traceback" not in invoke("info", "gone", "--checkpoints", tmp_path).stderr


def test_nothing_in_a_name_steers_the_terminal(tmp_path):
    line = fail(4, "info", "\x1b[31m\u202ered\nnext", "--checkpoints", tmp_path)
    assert "\\x1b" in line
    assert "\u202e" not in line


COMMAND = [sys.executable, "-m", "charrnn"]


@pytest.mark.parametrize("arguments", [["--help"], ["train", "-h"]])
def test_a_closed_pipe_ends_in_silence(arguments):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*COMMAND, *arguments], stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_reported():
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 6
    assert len(done.stderr.splitlines()) == 1


def test_closed_streams_are_borne():
    done = subprocess.run(["/bin/sh", "-c", '"$0" -m charrnn --version >&- 2>&- <&-', sys.executable], check=False)
    assert done.returncode == 0
