"""`charrnn train`: configuration, runs, resuming, and what is reported."""

import json
import os
import tomllib
from dataclasses import fields
from pathlib import Path

import msgspec
import pytest
from helpers_cli import fail, invoke, json_lines, succeed, train, write_names
from hypothesis import given
from hypothesis import strategies as st

from charrnn.checkpoint import RunDirectory, RunWriter
from charrnn.cli import train_display
from charrnn.cli.info import to_toml
from charrnn.cli.terminal import console
from charrnn.cli.train_options import settings_options
from charrnn.config import ENDING_STOPS, RunRecord, TrainConfig


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_names(tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


def config(root: Path, name: str = "names") -> TrainConfig:
    return RunDirectory(root / name).read_run(RunRecord).config


def test_every_setting_is_an_option():
    @settings_options
    def command(): ...

    options = {parameter.name for parameter in command.__click_params__}
    assert options | {"corpus"} == {field.name for field in fields(TrainConfig)}


def test_a_run_is_made_and_described(root, corpus):
    found = train(root, corpus, "--cell", "gru", "--num-layers", "2")
    assert found["run"] == "names"
    assert found["path"] == str(root / "names")
    assert found["finished"]
    assert (found["steps"], found["seed"], found["stop"]) == (4, 1, ["eos"])
    assert found["best_step"] in range(1, 5)
    assert found["best_bits_per_char"] == pytest.approx(found["best_loss"] / 0.6931471805599453)
    assert found["loss"] > 0
    record = RunDirectory(root / "names").read_run(RunRecord)
    assert record.argv[:3] == ("charrnn", "train", str(corpus))
    assert found["num_parameters"] == record.num_parameters
    assert (record.config.cell, record.config.num_layers, record.config.hidden_size) == ("gru", 2, 8)
    assert record.config.corpus == (str(corpus),)


def test_names_are_unique_or_asked_for(root, corpus):
    assert [train(root, corpus)["run"] for _ in range(2)] == ["names", "names-2"]
    assert train(root, corpus, "--name", "other")["run"] == "other"
    assert "--overwrite" in fail(
        2, "train", corpus, "--checkpoints", root, "--name", "other", "--steps", "1", "-q"
    )
    assert train(root, corpus, "--name", "other", "--overwrite", steps=2)["steps"] == 2


def test_nothing_is_shown_when_quiet(root, corpus):
    arguments = ["train", corpus, "--checkpoints", root, "--steps", "2", "--hidden-size", "8", "--threads", "1"]
    result = succeed(*arguments, "--quiet")
    assert (result.stdout, result.stderr) == ("", "")
    assert succeed(*arguments).stdout == ""


def test_what_is_shown_where_there_is_no_terminal(root, corpus):
    result = succeed(
        "train", corpus, "--checkpoints", root, "--steps", "20", "--hidden-size", "8", "--threads", "1", "-v"
    )
    shown = result.stderr
    for words in (
        f"{corpus}: ", "in 120 sequences", "(--split)", "(--order)", "lstm 1 x 8", "parameters", "20 steps",
        "1 thread", str(root / "names"), "step 20", "nats/char", "bits/char *", "  > ", "perplexity",
        f"charrnn sample names -n 10 --checkpoints {root}", f"charrnn eval names --checkpoints {root}", "torch",
        "hidden_size 8", "Verdict", "counts", "the training text",
    ):  # fmt: skip
        assert words in shown
    assert "\x1b" not in shown
    assert "\r" not in shown


def test_the_next_commands_name_the_run_though_it_is_the_newest(root, corpus):
    arguments = ["train", corpus, "--checkpoints", root, "--steps", "1", "--hidden-size", "8", "--name"]
    for name in ("first", "second"):
        shown = succeed(*arguments, name).stderr
        assert f"Next        charrnn sample {name} -n 10" in shown
        assert f"            charrnn sample {name} -n 10 --temperature 0.8 --checkpoints {root}" in shown


@pytest.mark.parametrize(
    ("flags", "stops"),
    [
        ([], ("eos",)),
        (["--stop", "length", "--stop", "eos"], ("eos", "length")),
        (["--stop", "all"], ENDING_STOPS),
        (["--stop", "halt", "--stop", "all"], ENDING_STOPS),
        (["--stop", "none"], ("none",)),
        (["--stop", "halt", "--stop", "halt"], ("halt",)),
    ],
)
def test_stops(root, corpus, flags, stops):
    train(root, corpus, *flags, steps=1)
    assert config(root).stop == stops


def test_standard_input(root, corpus):
    arguments = [
        "train",
        "-",
        "--checkpoints",
        root,
        "--steps",
        "1",
        "--hidden-size",
        "8",
        "--name",
        "piped",
        "-q",
    ]
    succeed(*arguments, stdin=corpus.read_bytes())
    (kept,) = config(root, "piped").corpus
    assert Path(kept).read_bytes() == corpus.read_bytes()


# Configuration files


def test_a_file_sets_what_the_command_line_does_not(root, corpus, tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text('cell = "gru"\nhidden_size = 5\nepochs = 3\nstop = "halt"\ndropout = 0\n')
    train(root, corpus, "--config", file, steps=2)
    found = config(root)
    assert (found.cell, found.hidden_size, found.stop, found.dropout) == ("gru", 8, ("halt",), 0.0)
    assert (found.steps, found.epochs) == (2, None)


def test_a_file_may_name_the_corpus(root, corpus, tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text(f'corpus = "{corpus}"\nsteps = 1\nhidden_size = 4\nstop = "all"\n')
    succeed("train", "--config", file, "--checkpoints", root, "--quiet")
    assert config(root).stop == ENDING_STOPS


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\nhiden_size = 3\n", "line 2: no setting is called 'hiden_size'; did you mean hidden_size?"),
        ("steps = 1\nhidden_size = 'x'\n", "line 2: hidden_size: Expected `int`, got `str`"),
        ("hidden_size = 0\n", "line 1: hidden_size: Expected `int` >= 1"),
        ("dropout = 1.0\n", "line 1: dropout: Expected `float` < 1"),
        ("cell = 'rnn'\n", "line 1: cell: Invalid enum value 'rnn'"),
        ("steps = \n", "not TOML"),
        ("steps = 1\nepochs = 1\n", "--epochs and --steps"),
        ("[model]\ncell = 'gru'\n", "no setting is called 'model'"),
    ],
)
def test_a_bad_file_is_refused(text, words, root, corpus, tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text(text)
    assert words in fail(2, "train", corpus, "--config", file, "--checkpoints", root)


def test_a_file_that_is_no_text_is_refused(root, corpus, tmp_path):
    file = tmp_path / "settings.toml"
    file.write_bytes(b"cell = '\xff'\n")
    assert "not UTF-8 at byte offset 8" in fail(2, "train", corpus, "--config", file, "--checkpoints", root)
    assert "cannot be read" in fail(2, "train", corpus, "--config", tmp_path / "gone", "--checkpoints", root)


def test_a_run_prints_the_file_that_repeats_it(root, corpus, tmp_path):
    train(root, corpus, "--stop", "all", "--cell", "gru")
    file = tmp_path / "settings.toml"
    file.write_text(succeed("info", "names", "--toml", "--checkpoints", root).stdout)
    printed, stored = tomllib.loads(file.read_text()), json.loads(msgspec.json.encode(config(root)))
    assert {name: stored[name] for name in printed} == printed
    assert "attention" not in printed, "it is a setting of another task"
    succeed("train", "--config", file, "--checkpoints", root, "--name", "again", "--quiet")
    weights = [next((root / name).glob("checkpoint-*4/model.safetensors")) for name in ("names", "again")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


values = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])), st.integers(-(2**63), 2**63 - 1), st.booleans(), st.floats()
)


@given(
    st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]{0,20}", fullmatch=True), st.one_of(values, st.lists(values)))
)
def test_toml_says_what_it_was_given(table):
    assert repr(tomllib.loads(to_toml(table))) == repr(table)


def test_toml_leaves_out_what_is_not_set():
    assert to_toml({"a": None, "b": 1}) == "b = 1\n"


# Going on


def test_resuming_a_finished_run_changes_nothing(root, corpus):
    before = train(root, corpus)
    weights = root / "names" / "checkpoint-00000004" / "model.safetensors"
    bytes_before = weights.read_bytes()
    result = succeed("train", "--resume", "--checkpoints", root, "--json")
    (after,) = json_lines(result)
    assert (after["steps"], after["best_loss"]) == (4, before["best_loss"])
    assert weights.read_bytes() == bytes_before
    (line,) = result.stderr.splitlines()
    assert line == (
        "names: finished already: 4 steps; a larger budget for the whole run trains it on: "
        f"charrnn train --resume --name names --checkpoints {root} --steps 8"
    )


def test_a_finished_run_is_trained_for_longer(root, corpus):
    train(root, corpus)
    result = succeed("train", "--resume", "--steps", "8", "--checkpoints", root, "--json")
    assert "8 steps in all (4 steps until step 4)" in result.stderr
    assert "going on at step 4" in result.stderr
    assert json_lines(result)[0]["steps"] == 8
    assert config(root).steps == 8
    assert "8 steps in all (4 steps until step 4)" in succeed("info", "names", "--checkpoints", root).stdout


def test_resuming_refuses_what_contradicts_the_run(root, corpus):
    train(root, corpus)
    for flags in (["--steps", "3"], ["--cell", "gru"], ["--epochs", "0.1"], ["--stop", "all"]):
        assert flags[0] in fail(2, "train", "--resume", *flags, "--checkpoints", root, "-q")
    other = corpus.with_name("other.txt")
    other.write_text("x\n")
    assert "other.txt" in fail(2, "train", other, "--resume", "--checkpoints", root, "-q")
    same = ["--steps", "4", "--cell", "lstm", "--stop", "eos", "--seed", "1"]
    succeed("train", corpus, "--resume", "--name", "names", *same, "--checkpoints", root, "-q")


def test_resuming_takes_the_run_that_is_named_or_the_newest(root, corpus):
    for name in ("one", "two"):
        train(root, corpus, "--name", name)
    os.utime(root / "two" / "run.json", (2**33, 2**33))
    for flags, name in ((["--name", "one"], "one"), ([], "two"), (["--name", str(root / "one")], "one")):
        (found,) = json_lines(succeed("train", "--resume", *flags, "--checkpoints", root, "--json", "-q"))
        assert found["run"] == name


def test_one_checkpoint_cannot_be_resumed(root, corpus):
    train(root, corpus)
    step = root / "names" / "checkpoint-00000004"
    assert "one checkpoint" in fail(2, "train", "--resume", "--name", step, "--checkpoints", root, "-q")


# What goes wrong


def test_a_run_that_diverges_says_what_is_kept(root, corpus):
    arguments = ["train", corpus, "--checkpoints", root, "--steps", "50", "--hidden-size", "8", "-q"]
    line = fail(5, *arguments, "--learning-rate", "1e30", "--eval-every", "1", "--name", "wild")
    assert "diverged at step" in line
    steps = RunDirectory(root / "wild").steps()
    assert f"keeps step {', '.join(map(str, steps))}" in line if steps else "no checkpoint yet" in line


def test_a_bad_corpus_is_the_corpus_error(root, tmp_path):
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"abc\n\xff\n")
    assert "byte offset 4" in fail(3, "train", bad, "--checkpoints", root, "-q")


def test_a_run_that_another_process_writes_to_is_refused(root, corpus):
    train(root, corpus)
    with RunWriter.open(root / "names"):
        fail(7, "train", "--resume", "--checkpoints", root, "-q")


class Gone:
    """A stderr whose reader is gone."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return False


def test_a_closed_pipe_stops_the_run_after_saving(root, corpus, monkeypatch):
    monkeypatch.setattr(train_display, "console", lambda _stream, gone: console(Gone(), gone))
    result = invoke("train", corpus, "--checkpoints", root, "--steps", "9", "--hidden-size", "8", "--json")
    assert result.exit_code == 141
    assert json.loads(result.stdout)["finished"] is False
    assert RunDirectory(root / "names").steps() == [1]
