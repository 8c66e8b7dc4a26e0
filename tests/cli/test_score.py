"""`charrnn score`: lines in, exact log-likelihoods out."""

import io
import json
import math
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import fail, imported_by, invoke, json_lines, run_code, succeed, train, write_names
from hypothesis import given
from hypothesis import strategies as st

import charrnn
from charrnn.cli.prompt import read_texts
from charrnn.cli.score import plain_line
from charrnn.corpus.readers import Stream
from charrnn.sampling.prompt import length_distribution, read_prefix
from charrnn.sampling.stepper import Stepper


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    train(folder / "checkpoints", write_names(folder), "--stop", "all", steps=20)
    return folder / "checkpoints"


def score(root: Path, *arguments: str | Path, stdin: str | bytes | None = None):
    return succeed("score", *arguments, "--checkpoints", root, stdin=stdin)


TEXTS = ["ab", "", "édc", "aXXb", " "]
LINES = "".join(f"{text}\n" for text in TEXTS)


def test_a_line_for_each_line(root):
    expected = charrnn.load(checkpoints=root).score(TEXTS)
    rows = [line.split("\t") for line in score(root, stdin=LINES).stdout.splitlines()]
    assert [row[2] for row in rows] == TEXTS
    assert [float(row[0]) for row in rows] == pytest.approx([-s.nll for s in expected], abs=1e-4)
    assert [row[1] for row in rows] == [
        "-" if s.bits_per_char is None else f"{s.bits_per_char:.4f}" for s in expected
    ]


@pytest.mark.parametrize("stop", [None, "eos", "halt", "length"])
def test_json_has_the_fields_of_a_score(root, stop):
    flags = [] if stop is None else ["--stop", stop]
    expected = charrnn.load(checkpoints=root).score(TEXTS, stop)
    for line, found in zip(json_lines(score(root, "--json", *flags, stdin=LINES)), expected, strict=True):
        assert list(line) == ["text", "nll", "bits_per_char", "nll_length", "num_chars", "num_oov", "worst"]
        assert line["nll"] == pytest.approx(found.nll, rel=1e-12)
        if line["bits_per_char"] is not None:
            assert line["bits_per_char"] * line["num_chars"] * math.log(2) == pytest.approx(line["nll"])


def by_prefixes(model, text, stop):
    """What each character and the end cost, from one longer beginning after another, read step by step."""
    stepper = Stepper(model.saved.model, model.saved.params)
    ending, symbols = model.saved.model.endings[stop], model.saved.vocabulary.encode(text).astype(np.int64)
    taus = np.array([len(text)]) if stop == "length" else None
    read = [read_prefix(stepper, ending, symbols[:k], taus) for k in range(len(text) + 1)]
    nats = [float(a.log_prob[0] - b.log_prob[0]) for a, b in pairwise(read)]
    if stop == "length":
        return [*nats, -float(length_distribution(stepper, ending).log_prob(taus)[0])]
    return [*nats, -float(stepper.log_next(ending, read[-1].hidden, None)[2][0])]


@pytest.mark.parametrize("stop", ["eos", "halt", "length"])
def test_the_nats_of_each_character_and_of_the_end(root, stop):
    model, texts = charrnn.load(checkpoints=root), ["ab", "", "édc", "dddddddd"]
    lines = "".join(f"{text}\n" for text in texts)
    found = json_lines(score(root, "--chars", "--json", "--stop", stop, stdin=lines))
    for text, one in zip(texts, found, strict=True):
        assert sum(one["nats"]) == pytest.approx(one["nll"], abs=1e-9)
        assert one["nats"] == pytest.approx(by_prefixes(model, text, stop), rel=1e-5, abs=1e-5)
    plain = score(root, "--chars", "--stop", stop, stdin=lines).stdout.split("\n\n")
    assert plain.pop() == ""
    for text, block, one in zip(texts, plain, found, strict=True):
        rows = [line.split("\t") for line in block.split("\n")]
        assert [row[2] for row in rows] == [*text, "(end)"]
        assert [row[0] for row in rows] == [f"{-nats:.4f}" for nats in one["nats"]]
        assert [row[1] for row in rows] == [f"{nats / math.log(2):.4f}" for nats in one["nats"]]


def test_a_prompt_is_read_but_not_charged(root, tmp_path):
    (tmp_path / "begins.txt").write_text("ab\n", encoding="utf-8")
    whole = charrnn.load(checkpoints=root).score(["abcd", "ab"])
    for prompt in ("ab", f"@{tmp_path / 'begins.txt'}"):
        found = json_lines(score(root, "--prompt", prompt, "--json", stdin="cd\n\n"))
        assert [one["text"] for one in found] == ["cd", ""]
        for one, of_both in zip(found, whole, strict=True):
            assert one["nll"] == pytest.approx(of_both.nll - sum(of_both.nats[:2]), abs=1e-9)


SPEECHES = ["a\nbc", "dd", "é\n\tab\nc", "abc"]
PLAY = "\n\n".join(SPEECHES) + "\n"


@pytest.mark.parametrize("split", ["paragraph", "file"])
def test_texts_are_what_the_run_read(tmp_path, split):
    play, file = tmp_path / "play.txt", tmp_path / "new.txt"
    play.write_text("\n\n".join([*SPEECHES] * 30) + "\n", encoding="utf-8")
    file.write_text(PLAY, encoding="utf-8")
    runs = tmp_path / "runs"
    train(runs, play, "--split", split, "--order", "independent" if split == "paragraph" else "ordered")
    texts = SPEECHES if split == "paragraph" else [PLAY]
    result = score(runs, file, "--json")
    found = json_lines(result)
    assert [one["text"] for one in found] == texts
    assert f"split by {split}, as in the run" in result.stderr
    (report,) = json_lines(succeed("eval", file, "--json", "--quiet", "--checkpoints", runs))
    assert sum(one["nll"] for one in found) == pytest.approx(report["nll"], rel=1e-6)
    assert json_lines(score(runs, "--json", stdin=PLAY)) == found
    jsonl = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    assert json_lines(score(runs, "--json", "--jsonl", stdin=jsonl)) == found
    for flags in (("--split", "line"), ("--prompt", "a")):
        assert [one["text"] for one in json_lines(score(runs, file, "--json", *flags))] == PLAY.splitlines()


def test_bounds_on_bits_per_char(root):
    lines = score(root, stdin=LINES).stdout.splitlines()
    costs = [math.inf if line.split("\t")[1] == "-" else float(line.split("\t")[1]) for line in lines]
    middle = sorted(costs)[2] + 0.01
    few = score(root, "--max-bits-per-char", str(middle), stdin=LINES).stdout.splitlines()
    many = score(root, "--min-bits-per-char", str(middle), stdin=LINES).stdout.splitlines()
    assert few == [line for line, cost in zip(lines, costs, strict=True) if cost <= middle]
    assert many == [line for line, cost in zip(lines, costs, strict=True) if cost >= middle]
    assert len(few) == 3
    assert len(many) == 2


@pytest.mark.parametrize(
    ("code", "flags", "words"),
    [
        (2, ("--jsonl", "--split", "line"), "give one of them"),
        (2, ("--prompt", "-"), "name a FILE"),
        (3, ("--prompt", "aX"), "does not know 'X'"),
    ],
)
def test_what_does_not_go_together(root, code, flags, words):
    assert words in fail(code, "score", *flags, "--checkpoints", root, stdin="ab\n")


def test_run_and_file_are_told_apart(root, tmp_path, monkeypatch):
    file = tmp_path / "texts.txt"
    file.write_text(LINES, encoding="utf-8")
    expected = score(root, stdin=LINES).stdout
    for arguments in ((file,), ("names", file), ("names", "-"), ("-",), ("names",), (root / "names", file)):
        assert score(root, *arguments, stdin=LINES).stdout == expected
    # A run's name wins over a file of that name.
    monkeypatch.chdir(tmp_path)
    Path("names").write_text("ab\n")
    assert score(root, "names", stdin=LINES).stdout == expected


def test_samples_round_trip(root):
    samples = succeed("sample", "-n", "20", "--json", "--checkpoints", root).stdout
    scores = json_lines(score(root, "--jsonl", "--json", stdin=samples))
    for line, found in zip(map(json.loads, samples.splitlines()), scores, strict=True):
        assert found["text"] == line["text"]
        assert -found["nll"] == pytest.approx(line["logprob"], rel=1e-5)


def test_a_text_of_several_lines_is_shown_on_one(root):
    assert score(root, "--jsonl", stdin='{"text": "a\\nb"}\n').stdout.endswith("\ta\\nb\n")


def test_the_least_expected_character_stands_out_where_it_is_marked(root):
    (found,) = charrnn.load(checkpoints=root).score(["ab\x1bX"])
    at = found.worst[0].index
    assert found.text[at] in "\x1bX"
    numbers = f"{-found.nll:.4f}\t{found.bits_per_char:.4f}\t"
    assert plain_line(found, marked=False) == f"{numbers}ab\x1bX\n"
    parts = ["a", "b", "\\x1b", "X"]
    parts[at] = f"\x1b[7m{parts[at]}\x1b[0m"
    assert plain_line(found, marked=True) == f"{numbers}{''.join(parts)}\n"


def test_unknown_characters_are_counted(root):
    result = score(root, stdin=LINES)
    assert result.stderr.startswith("3 characters unknown to the model")
    assert score(root, "-q", stdin=LINES).stderr == ""


@pytest.mark.parametrize(
    ("data", "flags", "words"),
    [
        (b"ab\n\xff\n", [], "standard input: not utf-8 at byte offset 3 (0xFF: invalid start byte), line 2"),
        (b'{"text": "a"}\n{"txt": "b"}\n', ["--jsonl"], "line 2: not a JSON object"),
        (b'{"text": "a"}\n\n', ["--jsonl"], "line 2: not a JSON object"),
    ],
)
def test_a_bad_line_is_named_after_the_good_ones_are_scored(root, data, flags, words):
    result = invoke("score", *flags, "--checkpoints", str(root), stdin=data)
    assert result.exit_code == 3
    assert len(result.stdout.splitlines()) == 1
    assert words in result.stderr.splitlines()[-1]


def test_a_file_that_cannot_be_read(root, tmp_path):
    assert "cannot be read" in fail(3, "score", tmp_path, "--checkpoints", root)


class Pieces(io.RawIOBase):
    """Gives a few bytes at a time."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data, self._size = io.BytesIO(data), size

    def readable(self) -> bool:
        return True

    def readinto(self, into) -> int:
        piece = self._data.read(min(self._size, len(into)))
        into[: len(piece)] = piece
        return len(piece)


def lines_of(data: bytes, size: int) -> list[str]:
    stream = Stream("x", io.BufferedReader(Pieces(data, size)))
    return [text for texts in read_texts(stream, "utf-8", lambda _line: None) for text in texts]


@given(st.text(st.sampled_from("abé\r\n")), st.integers(1, 3))
def test_lines_do_not_depend_on_how_they_arrive(text, size):
    whole = lines_of(text.encode(), 1000)
    assert lines_of(text.encode(), size) == whole
    lines = text.split("\n")
    ended = [line.removesuffix("\r") for line in lines[:-1]]
    assert whole == ([*ended, lines[-1]] if lines[-1] else ended)


def test_lines_are_scored_as_they_arrive(root):
    command = [sys.executable, "-m", "charrnn", "score", "--checkpoints", str(root)]
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        for text in (b"ab", b"cd"):
            process.stdin.write(text + b"\n")
            process.stdin.flush()
            assert process.stdout.readline().endswith(b"\t" + text + b"\n")
        process.stdin.close()
        assert process.stdout.read() == b""


def test_no_torch_is_imported(root):
    modules = imported_by(run_code("score", "--checkpoints", root))
    assert "torch" not in modules
    assert "numpy" in modules
