"""The verdict on a run: what would help, said case by case, and the counts that the model is held against."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from helpers_cli import invoke, json_lines, succeed, train, write_names

from charrnn.checkpoint import RunDirectory
from charrnn.cli import train_report
from charrnn.corpus.sequences import Sequences
from charrnn.corpus.vocabulary import Vocabulary
from charrnn.metrics import baselines as baselines_module
from charrnn.metrics.baselines import baselines, quick_ngram
from charrnn.tasks.generate import evaluate as evaluation
from charrnn.tasks.generate import free_running
from charrnn.tasks.verdict import Course, Rival, advice, course_of, verdict


def course(epochs: float, trained: float | None, *losses: float, size: float = 2.0) -> Course:
    """A run that was validated every 100 steps."""
    validations = tuple((100 * number, loss) for number, loss in enumerate(losses, start=1))
    return Course(epochs=epochs, trained=trained, validations=validations, bytes_per_parameter=size)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (course(0.2, 4.2, 4.3, 4.2), "longer"),  # little was read for each parameter
        (course(0.2, 4.2), "longer"),  # ... and nothing validated
        (course(2.0, 1.0, 2.0, 1.9, 1.95), "longer"),  # ... too little to be memorised
        (course(300, 1.1, 3.1, 2.9, 3.5, 4.4, size=0.02), "smaller"),  # validation rose again
        (course(9.0, 2.0, 2.5, 2.3, 2.29, 2.29, size=0.5), "smaller"),  # training is far below it
        (course(9.0, 2.0, 2.5, 2.3, 2.29, 2.29), "text"),  # ... of a model that is not too large
        (course(9.0, None, 2.5, 2.3, 2.29, 2.29), "nothing"),  # ... where it cannot be compared
        (course(9.0, 1.5, 2.0, 1.7, 1.6, 1.55), "longer"),  # validation still fell
        (course(9.0, 2.4, 2.5, 2.33, 2.31, 2.3), "larger"),  # training is no better than validation
        (course(9.0, 2.2, 2.5, 2.33, 2.31, 2.3), "nothing"),
        (course(9.0, 2.2), None),
        (course(9.0, 2.2, 2.3), "nothing"),  # one validation tells no fall
        (course(9.0, -1.0, -0.9, -1.0, -1.0, -1.0), "larger"),  # losses of numbers may be negative
    ],
)
def test_what_would_help_most(found, expected):
    assert advice(found) == expected


@pytest.mark.parametrize(
    ("bits", "rival", "words"),
    [
        (2.1, 2.4, "Better than counts: 2.10 bits/char, 12% fewer than the 2.40 of the best n-gram."),
        (6.0, 2.4, "Worse than counts: 6.00 bits/char, 150% more than the 2.40 of the best n-gram."),
        (2.4, 2.401, "As good as counts: 2.40 bits/char, as many as the best n-gram."),
        (None, 2.4, None),
        (2.1, None, None),
        (0.0, 0.0, None),
    ],
)
def test_better_or_worse_than_counts(bits, rival, words):
    loss = None if bits is None else bits * math.log(2)
    beside = None if rival is None else Rival("the best n-gram", rival * math.log(2))
    assert verdict(loss, beside, None) == words


@pytest.mark.parametrize(
    ("epochs", "words"),
    [
        (0.004, "It read less than 1% of the training text: a longer run would help most (--minutes)."),
        (0.16, "It read 16% of the training text: a longer"),
        (1.0, "It read the training text once: a longer"),
        (1.31, "It read the training text 1.3 times: a longer"),
        (1234, "It read the training text 1,234 times."),
    ],
)
def test_how_often_the_text_was_read(epochs, words):
    assert verdict(None, None, course(epochs, None)).startswith(words)


def test_what_is_said_of_a_text_known_by_heart():
    found = course(300, 1.1, 3.1, 2.9, 4.4, size=0.02)
    assert verdict(None, None, found) == (
        "It read the training text 300 times and memorised it: more text, more dropout (--dropout) or a "
        "smaller model (--hidden-size) would help most."
    )
    examples = replace(found, read="examples", bytes_per_parameter=2.0)
    assert "and memorised them: more examples or more dropout" in verdict(None, None, examples)


# The n-gram beside it


@pytest.mark.parametrize("independent", [True, False])
@pytest.mark.parametrize("endings", [True, False])
def test_the_quick_n_gram_is_that_of_the_baselines(independent, endings, monkeypatch):
    train_text, held_out = (Sequences.from_texts(texts) for texts in (["abcab", "", "cab"] * 40, ["abc", "bab"]))
    vocabulary = Vocabulary.from_sequences(train_text)
    how = {"training_chars": 300, "independent": independent, "endings": endings, "separator": "\n"}
    full = baselines(train_text, held_out, held_out, vocabulary, **how).figures["ngram"]
    assert quick_ngram(train_text, held_out, vocabulary, **how) == (full["loss"], full["order"], True)
    monkeypatch.setattr(baselines_module, "QUICK_BYTES", 60)
    short = quick_ngram(train_text, held_out, vocabulary, **how)
    assert not short.is_whole
    monkeypatch.setattr(baselines_module, "TRAINING_BYTES", 60)
    assert short.loss == baselines(train_text, held_out, held_out, vocabulary, **how).figures["ngram"]["loss"]
    assert quick_ngram(train_text, Sequences.from_texts([""]), vocabulary, **how) is None


def test_a_long_held_out_text_is_read_in_part(monkeypatch):
    monkeypatch.setattr(baselines_module, "_PIECE_CHARS", 8)
    train_text = Sequences.from_texts(["abcab"] * 40)
    how = {"training_chars": 200, "independent": True, "endings": True, "separator": "\n"}
    vocabulary = Vocabulary.from_sequences(train_text)
    whole, first = (
        quick_ngram(train_text, Sequences.from_texts(texts), vocabulary, **how)
        for texts in ([*["abcab"] * 4, *["cccc"] * 40], ["abcab"] * 4)
    )
    assert whole == first


# The commands


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--stop", "all"],
        ["--stop", "none", "--order", "ordered", "--bptt-steps", "8"],
        ["--order", "ordered", "--stop", "length", "--bptt-steps", "8"],
    ],
    ids=" ".join,
)
def test_train_and_eval_hold_a_model_against_the_same_n_gram(root, tmp_path, options, monkeypatch):
    monkeypatch.setattr(evaluation, "SAMPLES", 64)
    monkeypatch.setattr(free_running, "CHARS", 500)
    monkeypatch.setattr(free_running, "ROWS", 16)
    found = train(root, write_names(tmp_path), "--valid-fraction", "0.2", *options)
    for report in json_lines(succeed("eval", "names", "--part", "valid", "--json", "--checkpoints", root)):
        assert found["baseline_loss"] == pytest.approx(report["baselines"]["ngram"]["loss"], rel=1e-12)
        assert "best n-gram. It read" in report["verdict"]
    assert "best n-gram. It read" in found["verdict"]
    shown = succeed("eval", "names", "--part", "valid", "--checkpoints", root).stdout
    assert "Verdict     " in shown
    assert "Verdict" not in succeed("eval", "--compare", "names", "--checkpoints", root).stdout


def test_without_a_validation_part_only_the_reading_is_told(root, tmp_path):
    found = train(root, write_names(tmp_path), "--valid-fraction", "0", "--test-fraction", "0.1")
    assert (found["best_loss"], found["baseline_loss"]) == (None, None)
    assert found["verdict"].startswith("It read ")


@pytest.mark.parametrize("kind", ["category", "number"])
def test_labels_are_held_against_how_often_each_occurs(root, tmp_path, kind):
    table = tmp_path / "table.tsv"
    table.write_text("".join(f"{i % 3}\t{'abc'[i % 3]}{i:03}\n" for i in range(90)))
    found = train(root, table, "--task", "classify", "--label-column", f"1:{kind}", "--text-column", "2")
    if kind == "category":
        assert found["baseline_loss"] == pytest.approx(math.log(3), rel=0.2)
        assert "bits/text" in found["verdict"]
        assert "label frequencies alone. It read the training examples" in found["verdict"]
    else:
        assert found["baseline_loss"] is None
        assert found["verdict"].startswith("It read the training examples")


def test_nothing_is_counted_where_nobody_reads_it(root, tmp_path, monkeypatch):
    def judged(*_arguments: object) -> None:
        raise AssertionError("the n-gram was fitted")

    corpus = write_names(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(train_report, "judged", judged)
        options = ["--checkpoints", root, "--steps", "2", "--hidden-size", "8", "--threads", "1"]
        assert succeed("train", corpus, *options, "--quiet").stdout == ""
        patched.setattr("charrnn.cli.signals.StopSignals.__call__", lambda _signals: True)
        result = invoke("train", corpus, *options, "--json")
        (found,) = json_lines(result)
        assert (found["finished"], found["baseline_loss"], found["verdict"]) == (False, None, None)


def test_a_run_that_is_not_told_of_has_no_course(root, tmp_path):
    train(root, write_names(tmp_path), steps=20)
    run = RunDirectory(root / "names")
    found = course_of(run)
    assert (len(found.validations), found.budget, found.read) == (10, "--steps", "text")
    run.metrics_path.write_text("[]\n")
    assert course_of(run) is None
    run.metrics_path.unlink()
    assert course_of(run) is None
    run.run_path.unlink()
    assert course_of(run) is None
