"""`charrnn sample`: streams, batches, prompts, and which samples are kept."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers_cli import NAMES, fail, imported_by, invoke, json_lines, run_code, succeed, train, write_names

import charrnn
from charrnn.api import Sample
from charrnn.checkpoint import RunDirectory
from charrnn.cli import selection
from charrnn.cli.prompt import read_prompt
from charrnn.cli.sample import MAX_CHARS, Writer
from charrnn.cli.selection import draw, draw_accepted, not_seen_before
from charrnn.config import RunRecord
from charrnn.tasks.generate import predict
from charrnn.tasks.generate.data import load_dataset
from charrnn.tasks.generate.predict import Draws


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    corpus = write_names(folder)
    checkpoints = folder / "checkpoints"
    train(checkpoints, corpus, "--stop", "all", steps=60)
    paragraphs = folder / "paragraphs.txt"
    paragraphs.write_bytes(b"".join(b"ab\r\nba\r\n\r\n" for _ in range(60)))
    train(checkpoints, paragraphs, "--order", "independent", steps=30)
    train(checkpoints, paragraphs, "--stop", "none", "--name", "stream", steps=2)
    return checkpoints


def sample(root: Path, *arguments: str, run: str = "names"):
    return succeed("sample", run, "--checkpoints", root, *arguments)


def test_one_sample_is_the_first_of_many(root):
    one = sample(root, "--seed", "3").stdout
    many = sample(root, "--seed", "3", "-n", "5").stdout
    assert many.startswith(one)
    assert len(many.splitlines()) == 5


def test_samples_come_in_the_order_of_their_numbers(root):
    model = charrnn.load("names", checkpoints=root)
    expected = [found.text for found in model.sample(40, seed=9)]
    assert sample(root, "--seed", "9", "-n", "40").stdout == "".join(f"{text}\n" for text in expected)


def test_a_sample_is_written_as_soon_as_those_before_it_are():
    ends = [2, 0, 1, 4, 3]
    started = []

    class Ordered:
        def draw(self, samples: range) -> Iterator[tuple[int, str]]:
            for number in ends:
                started.append(number)
                yield number, str(number)

    found = draw(Ordered(), 5)
    assert (next(found), started) == ("0", [2, 0])
    assert (next(found), started) == ("1", [2, 0, 1])
    assert (next(found), started) == ("2", [2, 0, 1])
    assert list(found) == ["3", "4"]


def test_json(root):
    lines = json_lines(sample(root, "-n", "6", "--seed", "4", "--json", "--prompt", "a"))
    assert all(list(line) == list(Sample.__dataclass_fields__) for line in lines)
    model = charrnn.load("names", checkpoints=root)
    for line, score in zip(lines, model.score([line["text"] for line in lines]), strict=True):
        assert line["prompt"] == "a"
        assert line["text"].startswith("a")
        assert line["num_chars"] == len(line["text"])
        assert (line["finish_reason"], line["seed"]) == ("eos", 4)
        assert line["logprob"] == pytest.approx(-score.nll, rel=1e-5)
    (alone,) = json_lines(sample(root, "--seed", "4", "--json", "--prompt", "a"))
    assert alone == lines[0] | {"logprob": pytest.approx(lines[0]["logprob"], rel=1e-6)}


def test_a_seed_is_drawn_and_told(root):
    first, second = (json_lines(sample(root, "--json"))[0]["seed"] for _ in range(2))
    assert first != second
    told = sample(root, "-v").stderr
    text = sample(root, "--seed", told.split("seed ")[1].strip()).stdout
    assert text == sample(root, "--seed", told.split("seed ")[1].strip(), "-n", "1").stdout


def test_samples_are_separated_as_the_corpus_was(root):
    plain = sample(root, "-n", "3", "--seed", "1", run="paragraphs").stdout_bytes.decode()
    texts = [
        line["text"] for line in json_lines(sample(root, "-n", "3", "--seed", "1", "--json", run="paragraphs"))
    ]
    assert plain == "".join(f"{text}\r\n\r\n" for text in texts)


def test_print0(root):
    found = sample(root, "-n", "3", "--seed", "1", "--print0").stdout
    assert found.replace("\0", "\n") == sample(root, "-n", "3", "--seed", "1").stdout


@pytest.mark.parametrize("stop", ["eos", "halt", "length"])
def test_each_way_to_end(root, stop):
    (line,) = json_lines(sample(root, "--stop", stop, "--json", "--seed", "2"))
    assert line["finish_reason"] == stop


@pytest.mark.parametrize(
    ("run", "stop"), [("names", "eos"), ("names", "halt"), ("names", "length"), ("stream", "none")]
)
def test_exactly_so_many_characters(root, run, stop):
    (line,) = json_lines(sample(root, "--stop", stop, "--num-chars", "30", "--json", run=run))
    assert (line["num_chars"], line["finish_reason"]) == (30, "num_chars")


def test_the_library_cuts_where_the_command_does():
    assert MAX_CHARS == predict.MAX_CHARS


def test_cuts_are_counted(root):
    result = sample(root, "-n", "20", "--max-chars", "2", "--seed", "1")
    cut = sum(len(line) == 2 for line in result.stdout.splitlines())
    reported = int(result.stderr.split()[0])
    assert 0 < reported <= cut
    assert "cut at 2 characters" in result.stderr
    assert sample(root, "-n", "20", "--max-chars", "2", "--seed", "1", "--quiet").stderr == ""


def test_a_stream_needs_a_number_of_characters(root):
    assert "--num-chars" in fail(2, "sample", "stream", "--checkpoints", root)


def test_a_way_to_end_that_the_model_lacks(root):
    line = fail(2, "sample", "paragraphs", "--stop", "halt", "--checkpoints", root)
    assert "has eos" in line
    assert "--stop halt" in line


def test_another_checkpoint(root):
    steps = RunDirectory(root / "names").steps()
    for which in ("last", str(steps[0])):
        chosen = steps[-1] if which == "last" else steps[0]
        path = root / "names" / f"checkpoint-{chosen:08d}"
        assert (
            sample(root, "--checkpoint", which, "--seed", "1").stdout
            == sample(root, "--seed", "1", run=str(path)).stdout
        )
    assert "checkpoint" in fail(4, "sample", "names", "--checkpoint", "999", "--checkpoints", root)


# Prompts


@pytest.mark.parametrize(
    ("argument", "symbols", "prompt"),
    [
        ("abc", "abc", "abc"),
        ("", "abc", ""),
        ("@@home", "abc", "@home"),
        ("a@b", "abc", "a@b"),
        ("--", "abc", "--"),
        ("@FILE", "abc", "line"),
        ("@FILE", "abc\n", "line\n"),
    ],
)
def test_what_a_prompt_means(argument, symbols, prompt, tmp_path):
    (tmp_path / "p.txt").write_bytes("\ufeffline\n".encode())
    assert read_prompt(argument.replace("FILE", str(tmp_path / "p.txt")), tuple(symbols)) == prompt


def test_a_prompt_from_a_file_or_a_pipe(root, tmp_path):
    (tmp_path / "p.txt").write_text("ab\n")
    expected = sample(root, "--prompt", "ab", "--seed", "1").stdout
    assert expected.startswith("ab")
    assert sample(root, "--prompt", f"@{tmp_path / 'p.txt'}", "--seed", "1").stdout == expected
    piped = succeed("sample", "names", "--checkpoints", root, "--prompt", "-", "--seed", "1", stdin="ab\n")
    assert piped.stdout == expected


def test_a_prompt_that_cannot_be(root, tmp_path):
    (tmp_path / "p.bin").write_bytes(b"a\xff")
    at = ["sample", "names", "--checkpoints", root, "--prompt"]
    assert "'X' (U+0058)" in fail(3, *at, "aX")
    assert "'X' (U+0058)" in fail(3, *at, "aX", "-n", "2")
    assert "cannot be read" in fail(3, *at, f"@{tmp_path / 'gone'}")
    assert "byte offset 1" in fail(3, *at, f"@{tmp_path / 'p.bin'}")
    assert "--num-chars 2" in fail(3, *at, "aab", "--num-chars", "2")


# Which samples are kept


def counted(texts: list[str]) -> tuple[SimpleNamespace, list[range]]:
    """Draws of these texts over and over, and the ranges that it was asked for."""
    asked: list[range] = []

    def draw(samples: range) -> Iterator[tuple[int, SimpleNamespace]]:
        asked.append(samples)
        for number in samples:
            yield number, SimpleNamespace(text=texts[number % len(texts)])

    return SimpleNamespace(draw=draw), asked


def test_samples_are_drawn_until_enough_are_accepted():
    draws, asked = counted([str(n) for n in range(1000)])
    found = [s.text for s in draw_accepted(draws, 150, lambda text: int(text) % 3 == 0)]
    assert found == [str(n) for n in range(0, 450, 3)]
    assert [r.start for r in asked] == [0, *[r.stop for r in asked[:-1]]]


@pytest.mark.parametrize("patience", [1, 10, 1000])
def test_the_search_is_given_up(patience):
    draws, asked = counted(["a", "b", "c"])
    assert [s.text for s in draw_accepted(draws, 5, not_seen_before(), patience)] == ["a", "b", "c"]
    assert asked[-1].stop <= 3 + patience + 64


def test_long_texts_end_the_search_earlier(monkeypatch):
    monkeypatch.setattr(selection, "PATIENCE_CHARS", 100)
    draws, asked = counted(["a" * 30])
    assert list(draw_accepted(draws, 1, lambda _: False)) == []
    assert asked[-1].stop <= 8


def test_unique(root):
    texts = sample(root, "-n", "300", "--unique", "--seed", "1").stdout.splitlines()
    assert len(set(texts)) == len(texts) == 300
    drawn = sample(root, "-n", "300", "--seed", "1").stdout.splitlines()
    assert len(set(drawn)) < 300
    assert texts[: len(set(drawn))] == list(dict.fromkeys(drawn))


def test_unique_gives_up_and_says_so(root):
    for quiet in ([], ["--quiet"]):
        result = invoke(
            "sample", "names", "--checkpoints", root, "-n", "5", "--unique", "--temperature", "0", *quiet
        )
        assert (result.exit_code, len(result.stdout.splitlines())) == (9, 1)
        (line,) = result.stderr.splitlines()
        assert line.startswith("Error: only 1 of 5 samples found")


def held_out_names(root: Path) -> set[str]:
    """The names of the validation and test parts, which the model was not trained on."""
    parts = load_dataset(RunDirectory(root / "names").read_run(RunRecord).config, root).parts
    return {part.get(s) for part in (parts.valid, parts.test) for s in range(len(part))}


def test_novel(root):
    training = set(NAMES) - held_out_names(root)
    drawn = sample(root, "-n", "200", "--seed", "5").stdout.splitlines()
    assert training.intersection(drawn)
    novel = sample(root, "-n", "200", "--seed", "5", "--novel").stdout.splitlines()
    assert len(novel) == 200
    expected = [text for text in drawn if text not in training]
    assert novel[: len(expected)] == expected
    assert not training.intersection(novel)


def test_novel_says_what_it_means(root):
    assert "sequence of the training text (" in sample(root, "--novel", "--seed", "5").stderr
    assert "50 characters in a row" in sample(root, "--novel", "--num-chars", "9", run="stream").stderr
    assert "7 characters in a row" in sample(root, "--novel-span", "7", "--seed", "5").stderr
    assert sample(root, "--novel", "--seed", "5", "--quiet").stderr == ""


@pytest.mark.parametrize("prompt", ["", "ab"])
def test_of_a_stream_what_is_novel_copies_no_long_span(root, prompt):
    """The stream of two letters is drawn anew until no four characters in a row stand in it."""
    text = (root.parent / "paragraphs.txt").read_bytes().decode()
    options = ["-n", "40", "--num-chars", "12", "--seed", "1", "--prompt", prompt, "--json"]

    def is_novel(drawn: str) -> bool:
        return not any(drawn[i : i + 4] in text for i in range(len(prompt), len(drawn) - 3))

    drawn = [line["text"] for line in json_lines(sample(root, *options, run="stream"))]
    novel = [line["text"] for line in json_lines(sample(root, *options, "--novel-span", "3", run="stream"))]
    assert len(novel) == 40
    assert all(map(is_novel, novel))
    kept = [text for text in drawn if is_novel(text)]
    assert len(kept) < 40
    assert novel[: len(kept)] == kept


def test_novel_needs_the_training_text(tmp_path):
    corpus = write_names(tmp_path)
    train(tmp_path / "runs", corpus)
    at = ["sample", "names", "--checkpoints", tmp_path / "runs", "--novel"]
    succeed(*at)
    corpus.write_text("other\ntext\n")
    assert "has changed" in fail(3, *at)
    corpus.unlink()
    line = fail(3, *at)
    assert "--novel needs the training text" in line
    assert str(corpus) in line
    checkpoint = next((tmp_path / "runs" / "names").glob("checkpoint-*"))
    alone = checkpoint.rename(tmp_path / "alone")
    assert "no run beside it" in fail(4, "sample", alone, "--novel", "--checkpoints", tmp_path / "runs")


@pytest.mark.parametrize("stop", ["eos", "halt", "length"])
def test_what_a_text_is_kept_for(root, stop):
    """Whatever the filters, they select from the draws without filters, and the log-probability is the model's."""
    options = ["--stop", stop, "--seed", "2", "--json", "-n"]
    drawn = [line["text"] for line in json_lines(sample(root, *options, "600"))]
    filters = ["--min-chars", "3", "--match", "a.*[^b]", "--unique", "--novel"]
    found = json_lines(sample(root, *options, "8", *filters))
    training = set(NAMES) - held_out_names(root)
    expected = [text for text in drawn if len(text) >= 3 and text[0] == "a" and text[-1] != "b"]
    expected = [text for text in dict.fromkeys(expected) if text not in training]
    assert [line["text"] for line in found] == expected[:8]
    scores = charrnn.load("names", checkpoints=root).score([line["text"] for line in found], stop=stop)
    for line, score in zip(found, scores, strict=True):
        assert line["finish_reason"] == stop
        assert line["logprob"] == pytest.approx(-score.nll, rel=1e-5)


def test_options_that_no_text_can_satisfy(root):
    at = ["sample", "names", "--checkpoints", root]
    assert "no regular expression" in fail(2, *at, "--match", "a(")
    assert "--min-chars" in fail(2, *at, "--min-chars", "5", "--max-chars", "4")
    assert "--num-chars is exact" in fail(2, *at, "--until", "a", "--num-chars", "4")
    assert "'X' (U+0058)" in fail(3, *at, "--until", "X")
    assert "only 0 of 1 sample found" in fail(9, *at, "--match", "x+", "--seed", "1")


# Where a text ends


@pytest.mark.parametrize("stop", ["eos", "halt"])
@pytest.mark.parametrize("prompt", ["", "cab"])
def test_a_text_ends_with_what_it_is_drawn_until(root, stop, prompt):
    """It is the same text as without, up to the first end after the prompt."""
    options = ["-n", "60", "--seed", "3", "--stop", stop, "--prompt", prompt, "--json"]
    whole = json_lines(sample(root, *options))
    cut = json_lines(sample(root, *options, "--until", "ab"))
    model = charrnn.load("names", checkpoints=root)
    assert {line["finish_reason"] for line in cut} == {stop, "until"}
    for before, after in zip(whole, cut, strict=True):
        ends = [
            end for end in range(len(prompt) + 1, len(before["text"]) + 1) if before["text"][:end].endswith("ab")
        ]
        assert after["text"] == (before["text"][: ends[0]] if ends else before["text"])
        assert after["finish_reason"] == ("until" if ends else stop)
        if ends:
            (prefix,) = model.draws(stop=stop, prompt=after["text"], max_chars=len(after["text"])).draw(range(1))
            assert prefix[1].logprob == pytest.approx(after["logprob"]) or prefix[1].finish_reason == stop


def test_a_stream_ends_where_it_is_asked_to(root):
    (line,) = json_lines(sample(root, "--until", "a", "--json", "--seed", "1", run="stream"))
    assert (line["finish_reason"], line["text"].index("a")) == ("until", line["num_chars"] - 1)
    assert sample(root, "--until", "a", "--seed", "1", run="stream").stdout_bytes.decode() == line["text"] + "\n"


@pytest.mark.parametrize("words", [1, 3])
def test_a_text_is_cut_after_so_many_words(root, words):
    lines = json_lines(sample(root, "-n", "30", "--max-words", str(words), "--json", "--seed", "1", run="stream"))
    whole = json_lines(sample(root, "-n", "30", "--num-chars", "40", "--json", "--seed", "1", run="stream"))
    for line, longer in zip(lines, whole, strict=True):
        assert (line["finish_reason"], len(line["text"].split())) == ("max_words", words)
        assert not line["text"][-1].isspace()
        assert longer["text"].startswith(line["text"] + longer["text"][len(line["text"])])
        assert longer["text"][len(line["text"])].isspace()


def test_each_prompt_of_a_file_is_answered(root, tmp_path):
    (tmp_path / "prompts.txt").write_text("ab\n\nc\n")
    at = ["--prompts", str(tmp_path / "prompts.txt"), "--seed", "6", "-n", "2", "--json"]
    lines = json_lines(sample(root, *at))
    assert [line["prompt"] for line in lines] == ["ab", "ab", "", "", "c", "c"]
    for first, prompt in enumerate(["ab", "", "c"]):
        alone = json_lines(sample(root, "--prompt", prompt, "--seed", str(6 + first), "-n", "2", "--json"))
        assert lines[2 * first : 2 * first + 2] == alone
    assert len(json_lines(sample(root, *at, "--min-chars", "3", "--novel"))) == 6
    (tmp_path / "prompts.txt").write_text("ab\naX\n")
    assert "prompts.txt, line 2: the model does not know 'X'" in fail(
        3, "sample", "names", "--checkpoints", root, *at
    )


# What stands between them


@pytest.mark.parametrize(
    ("separator", "printed"),
    [
        ("\n%\n", "a\n%\nb\n%\n"),
        ("<|e|>", "a<|e|>b<|e|>"),
        ("|\n", "a|\nb|\n"),
        ("\n>", ">a\n>b\n"),
        ("\r\nX:", "X:a\r\nX:b\r\n"),
        ("\n\n", "a\n\nb\n\n"),
        ("\0", "a\0b\0"),
    ],
)
def test_a_mark_that_begins_a_line_stands_before_a_text(separator, printed, capsys):
    both = [SimpleNamespace(text=text, finish_reason="eos") for text in "ab"]
    Writer(separator, as_json=False).write_all(iter(both))
    assert capsys.readouterr().out == printed
    writer = Writer(separator, as_json=False)
    for one in both:
        writer.stream(one.text, iter([one]))
    assert capsys.readouterr().out == printed


def test_a_mark_controls_no_terminal(monkeypatch, capsys):
    for module in ("terminal", "sample"):
        monkeypatch.setattr(f"charrnn.cli.{module}.is_terminal", lambda _stream: True)
    for separator, printed in (("\x1b[2J", r"a\x1b[2J"), ("\n\x9b", "\\x9ba\n"), ("\r\n", "a\n")):
        Writer(separator, as_json=False).write_all(iter([SimpleNamespace(text="a", finish_reason="eos")]))
        assert capsys.readouterr().out == printed


def test_texts_between_marks_are_drawn_and_read_as_such(tmp_path):
    corpus, runs, drawn = tmp_path / "fortunes", tmp_path / "runs", tmp_path / "drawn"
    corpus.write_text("".join(f"{name}\n\n-- 100%\n%\n" for name in NAMES))
    train(runs, corpus, "--split-on", "%", steps=2)
    asked = ("-n", "4", "--seed", "1", "--max-chars", "9")
    drawn.write_text(sample(runs, *asked, run="fortunes").stdout)
    texts = [line["text"] for line in json_lines(sample(runs, *asked, "--json", run="fortunes"))]
    assert drawn.read_text() == "".join(f"{text}\n%\n" for text in texts)
    (report,) = json_lines(succeed("eval", "fortunes", drawn, "--checkpoints", runs, "--json"))
    assert (report["num_sequences"], report["num_chars"]) == (4, sum(map(len, texts)))


# Where it is written


def test_bytes_are_utf8_whatever_the_locale(root):
    command = [
        sys.executable,
        "-m",
        "charrnn",
        "sample",
        "names",
        "-n",
        "50",
        "--seed",
        "1",
        "--checkpoints",
        str(root),
    ]
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(command, capture_output=True, check=True, env=environment)
    assert "é" in done.stdout.decode()
    assert done.stdout.decode() == sample(root, "-n", "50", "--seed", "1").stdout


def test_no_torch_is_imported(root):
    modules = imported_by(run_code("sample", "names", "-n", "2", "--checkpoints", root))
    assert "torch" not in modules
    assert "rich" not in modules
    assert "numpy" in modules


def test_a_closed_pipe_ends_the_drawing_in_silence(root):
    command = [
        sys.executable,
        "-m",
        "charrnn",
        "sample",
        "stream",
        "--num-chars",
        "10000000",
        "--checkpoints",
        str(root),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_controls_are_visible_on_a_terminal_and_untouched_in_a_pipe(tmp_path):
    corpus = tmp_path / "escapes.txt"
    corpus.write_bytes(b"\x1b\x1b\n" * 200)
    train(tmp_path, corpus, steps=1)
    command = ["sample", "escapes", "--checkpoints", str(tmp_path), "--num-chars", "8", "--seed", "1"]
    assert succeed(*command).stdout == "\x1b" * 8 + "\n"
    parent, child = pty.openpty()
    subprocess.run([sys.executable, "-m", "charrnn", *command], stdout=child, check=True)
    os.close(child)
    assert os.read(parent, 1000) == b"\\x1b" * 8 + b"\r\n"
    os.close(parent)


def test_what_was_drawn_is_kept_when_interrupted(root, monkeypatch):
    def stream(self, **options: object) -> Iterator[str]:
        yield "a"
        yield "b"
        raise KeyboardInterrupt

    monkeypatch.setattr(Draws, "stream", stream)
    result = invoke("sample", "names", "--checkpoints", root)
    assert (result.exit_code, result.stdout) == (130, "ab")
    assert result.stderr.strip() == ""
