"""`charrnn eval`: the report, its gate, and what it reads."""

import json
import shutil
from pathlib import Path

import pytest
from helpers_cli import NAMES, fail, imported_by, invoke, json_lines, run_code, succeed, train, write_names

from charrnn.checkpoint import resolve_checkpoint
from charrnn.models.store import load_model
from charrnn.sampling.ancestral import Drawn
from charrnn.sampling.scoring import score
from charrnn.tasks.generate import evaluate as evaluation
from charrnn.tasks.generate import free_running
from charrnn.tasks.generate.evaluate import EvalReport


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    corpus = write_names(folder)
    train(folder / "checkpoints", corpus, "--test-fraction", "0.2")
    train(folder / "checkpoints", corpus, "--stop", "all", "--name", "all")
    train(
        folder / "checkpoints",
        corpus,
        "--stop",
        "none",
        "--order",
        "ordered",
        "--name",
        "stream",
        "--bptt-steps",
        "8",
    )
    return folder / "checkpoints"


@pytest.fixture
def _few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A twentieth of what a report draws, where nothing is said of how much was drawn."""
    monkeypatch.setattr(evaluation, "SAMPLES", 100)
    monkeypatch.setattr(free_running, "CHARS", 1000)
    monkeypatch.setattr(free_running, "ROWS", 32)


few_samples = pytest.mark.usefixtures("_few_samples")


def report(root: Path, *arguments: str | Path) -> dict:
    return json.loads(succeed("eval", *arguments, "--json", "--checkpoints", root).stdout)


def test_as_many_lengths_are_drawn_as_the_readme_says(root):
    found = report(root, "names")
    assert found["num_sampled"] == 2000
    assert found["free_running"]["num_chars"] >= 20_000


@few_samples
def test_the_report(root):
    found = report(root, "names")
    assert list(found) == list(EvalReport.__dataclass_fields__)
    assert (found["schema"], found["run"], found["data"], found["stop"]) == (
        "charrnn.eval/1",
        "names",
        "test",
        "eos",
    )
    shown = succeed("eval", "names", "--checkpoints", root).stdout
    for words in (
        f"{found['perplexity']:,.4f} per character", f"{found['bits_per_char']:.4f} bits/char", "n-gram of order",
        "uniform", "held out", "sampled", "KS", "PIT", f"{found['num_chars']:,} characters",
    ):  # fmt: skip
        assert words in shown
    assert found["model_sha256"] not in shown
    assert found["model_sha256"] in succeed("eval", "names", "-v", "--checkpoints", root).stdout


@few_samples
def test_what_the_samples_copy_is_told(root, monkeypatch):
    found = report(root, "names")["copies"]
    assert (found["copied"], found["longest"]) == (0.0, 0)  # no name has so many characters
    assert found["repeated"] > 0
    text = (root.parent / "names.txt").read_text(encoding="utf-8")
    saved = load_model(resolve_checkpoint("stream", root))
    drawn = [Drawn(0, saved.vocabulary.encode(text[30:80] + "aaaaaaaaaa"), "num_chars", 0.0)]
    monkeypatch.setattr(evaluation, "draw_texts", lambda *_, **__: drawn)
    found = report(root, "stream")["copies"]
    assert (found["copied"], found["longest"], found["num_chars"]) == (pytest.approx(50 / 60), 50, 60)
    line = 1 + text[:30].count("\n")
    assert found["place"].endswith(f"names.txt, line {line}")
    shown = succeed("eval", "stream", "--checkpoints", root).stdout
    assert "83.3% of 60 characters in 1 sample are in spans of 20 or more" in shown
    assert found["place"] in shown


@few_samples
def test_one_report_for_each_way_to_end(root):
    found = json_lines(succeed("eval", "all", "--json", "--checkpoints", root))
    assert [report["stop"] for report in found] == ["eos", "halt", "length"]
    assert report(root, "all", "--stop", "halt")["stop"] == "halt"
    assert "has eos" in fail(2, "eval", "names", "--stop", "halt", "--checkpoints", root)


@few_samples
def test_a_stream_has_no_lengths(root):
    found = report(root, "stream")
    assert (found["lengths"], found["nll_length"]) == (None, 0.0)
    assert "LENGTHS" not in succeed("eval", "stream", "--checkpoints", root).stdout


@few_samples
def test_a_part_of_the_corpus(root):
    sizes = {part: report(root, "names", "--part", part)["num_sequences"] for part in ("train", "valid", "test")}
    assert sum(sizes.values()) == len(NAMES)
    assert sizes["train"] > sizes["test"] > sizes["valid"]


@few_samples
def test_a_file_is_taken_as_given(root, tmp_path):
    file = tmp_path / "other.txt"
    file.write_text(f"abX\n{NAMES[0]}\n\n", encoding="utf-8")
    found = report(root, "names", file)
    texts = ["abX", NAMES[0], ""]
    assert found["data"] == str(file)
    assert (found["num_sequences"], found["num_oov"]) == (3, 1)
    saved = load_model(resolve_checkpoint("names", root))
    assert found["nll"] == pytest.approx(sum(s.nll for s in score(saved, texts)), rel=1e-5)
    shown = succeed("eval", "names", file, "--checkpoints", root).stdout
    assert "1 character; perplexity without them" in shown
    assert report(root, "names", file, "--split", "file")["num_sequences"] == 1


@few_samples
def test_a_lone_file_is_for_the_newest_run(root, tmp_path):
    file = tmp_path / "other.txt"
    file.write_text("ab\n")
    assert report(root, file)["run"] == "stream"
    assert report(root, "names")["data"] == "test"


@few_samples
def test_a_checkpoint_alone_needs_a_file(root, tmp_path):
    alone = shutil.copytree(resolve_checkpoint("names", root).path, tmp_path / "alone")
    assert "name a FILE" in fail(4, "eval", alone, "--checkpoints", root)
    file = tmp_path / "other.txt"
    file.write_text("ab\nba\n")
    assert report(root, alone, file)["run"] == "alone"


@few_samples
def test_the_gate(root):
    bits = report(root, "names")["bits_per_char"]
    succeed("eval", "names", "--max-bits-per-char", str(bits + 0.01), "--checkpoints", root)
    result = invoke("eval", "names", "--max-bits-per-char", str(bits - 0.01), "--checkpoints", str(root))
    assert result.exit_code == 8
    assert "Perplexity" in result.stdout
    assert f"{bits:.4f} bits/char" in result.stderr


def test_no_torch_is_imported(root):
    assert "torch" not in imported_by(run_code("eval", "names", "--checkpoints", root))


@few_samples
def test_compared_runs_stand_side_by_side_the_best_first(root):
    reports = json_lines(succeed("eval", "--compare", "names", "all", "--json", "--checkpoints", root))
    assert [(found["run"], found["stop"]) for found in reports] == [
        ("names", "eos"), ("all", "eos"), ("all", "halt"), ("all", "length"),
    ]  # fmt: skip
    assert reports[0] == report(root, "names") | {
        key: reports[0][key] for key in ("chars_per_second", "peak_memory_bytes")
    }
    shown = succeed("eval", "--compare", "names", "all", "--checkpoints", root).stdout.splitlines()
    assert shown[0].split() == ["RUN", "MODEL", "STOP", "BITS/CHAR", "NATS/SYMBOL", "PERPLEXITY", "KS"]
    figures = [float(line.split()[-4]) for line in shown[1:5]]
    assert figures == sorted(figures)
    assert "not measured on the same text" in " ".join(shown)
    assert max(map(len, shown)) <= 80


@few_samples
def test_compared_without_a_run_are_all_and_a_file_is_the_same_text_for_each(root, tmp_path):
    text = tmp_path / "other.txt"
    text.write_text("anna\nbob\n")
    found = json_lines(succeed("eval", "--compare", text, "--json", "--checkpoints", root))
    assert {entry["run"] for entry in found} == {"names", "all", "stream"}
    assert {entry["num_chars"] for entry in found} == {7, 9}  # a stream reads the line ends too
    assert "neither a run" in fail(3, "eval", "--compare", "names", "nosuch", "--checkpoints", root)
