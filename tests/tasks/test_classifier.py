"""Sequence to one output: pooling and likelihoods by hand, batches, calibration, and the commands on tables."""

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_cli import fail, json_lines, succeed, train
from helpers_models import CELL_CASES, as_torch, random_params
from hypothesis import given
from hypothesis import strategies as st

from charrnn.api import load
from charrnn.corpus.bucketed import BucketedBatches
from charrnn.corpus.columns import Column
from charrnn.corpus.symbols import LONGEST, Ragged, Symbols
from charrnn.models.encoder import EncoderConfig
from charrnn.models.label_readout import LabelReadout
from charrnn.tasks.classify.classifier import Classifier, ClassifierConfig, Labelled
from charrnn.tasks.rows.labels import temperature_notes
from charrnn.tasks.rows.learner import validated
from charrnn.training.temperature import fit_temperature

V = 3
LENGTHS = np.array([4, 0, 1])
IDS = np.random.default_rng(0).integers(0, V + 1, (4, 3))
LABELS = Column(name="kind", values=("a", "b", "c"), counts=(1, 1, 1))
NUMBER = Column(name="size", mean=10.0, scale=2.0)

CASES = [(cell, options) for cell, options in CELL_CASES if cell != "output_recurrent" or options]


def make(cell: str = "lstm", options: dict | None = None, label: Column = LABELS, **settings: Any) -> Classifier:
    pooling = settings.pop("pooling", "last")
    encoder = EncoderConfig(
        cell=cell,  # type: ignore[arg-type]
        cell_options=options or {},
        **{"vocab_size": V, "hidden_size": 4, "num_layers": 1, **settings},
    )
    return Classifier(ClassifierConfig(text_column="text", label=label, encoder=encoder, pooling=pooling))


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
@pytest.mark.parametrize(("cell", "options"), CASES, ids=str)
def test_a_likelihood_is_what_the_equations_say(cell, options, pooling):
    """NumPy against a loop over rows by hand, and torch against NumPy; every parameter has a gradient."""
    model = make(cell, options, pooling=pooling)
    params = random_params(model.shapes, seed=2, scale=0.5) | {"log_temperature": np.zeros(())}
    outputs = np.array([2, 0, 1])
    found = model.nll(params, Labelled(IDS, LENGTHS, outputs))
    encoded = model.encoder.read(params, IDS, LENGTHS)
    for b, length in enumerate(LENGTHS):
        real = encoded.outputs[:length, b]
        h = {
            "last": encoded.summary[b],
            "mean": real.mean(axis=0) if length else 0.0 * encoded.summary[b],
            "max": real.max(axis=0) if length else 0.0 * encoded.summary[b],
        }[pooling]
        o = params["readout.weight"] @ h + params["readout.bias"]
        p = np.exp(o) / np.exp(o).sum()
        np.testing.assert_allclose(found[b], -np.log(p[outputs[b]]), rtol=1e-9)
    weights = as_torch(params)
    batch = Labelled(*(torch.from_numpy(array) for array in (IDS, LENGTHS, outputs)))
    nll = model.nll(weights, batch)
    np.testing.assert_allclose(nll.detach().numpy(), found, rtol=1e-9)
    nll.sum().backward()
    for name in model.shapes.keys() - model.frozen:
        grad = weights[name].grad
        assert grad is not None, name
        # What a time-delay network looks back on lies before such short texts.
        assert float(grad.abs().max()) > 0 or "delayed" in name, name


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
def test_batch_mates_and_padding_change_nothing(pooling):
    model = make(pooling=pooling, num_layers=2)
    params = random_params(model.shapes, seed=2, scale=0.5)
    together = model.logits(params, IDS, LENGTHS)
    for b, length in enumerate(LENGTHS):
        alone = model.logits(params, IDS[: max(1, length), b : b + 1], LENGTHS[b : b + 1])
        np.testing.assert_allclose(alone[0], together[b], rtol=1e-9)
    padded = np.concatenate([IDS, np.zeros((3, 3), np.int64)])
    np.testing.assert_allclose(model.logits(params, padded, LENGTHS), together, rtol=1e-9)


def test_a_number_has_a_density():
    """Its integral over the real line is one, in standardised numbers."""
    model = make(label=NUMBER)
    params = random_params(model.shapes, seed=2, scale=0.5)
    y = np.linspace(-40.0, 40.0, 40_001)
    logits = np.broadcast_to(model.logits(params, IDS, LENGTHS)[:1], (len(y), 1))
    density = np.exp(-model.readout.nll(params, logits, y))
    assert float(density.sum() * (y[1] - y[0])) == pytest.approx(1.0, abs=1e-6)
    assert model.readout.numbers(logits)[0] == pytest.approx(float(logits[0, 0]) * 2.0 + 10.0)


@given(st.integers(0, 1000), st.floats(0.2, 5.0))
def test_a_temperature_that_was_planted_is_found(seed, T):
    """Labels drawn from softmax(o / T): no temperature on a grid costs less than the one fitted."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(500, 4)) * 3.0
    p = np.exp(logits / T) / np.exp(logits / T).sum(axis=1, keepdims=True)
    labels = (p.cumsum(axis=1) < rng.random((500, 1))).sum(axis=1).clip(0, 3)

    def cost(log_t: float) -> float:
        z = logits / math.exp(log_t)
        return float((np.log(np.exp(z - z.max(axis=1, keepdims=True)).sum(axis=1)) + z.max(axis=1)).sum()
                     - z[np.arange(500), labels].sum()) + 4.0 * (math.exp(-log_t) - 1.0 + log_t)  # fmt: skip

    found = fit_temperature(logits, labels)
    assert cost(found) <= min(cost(x) for x in np.linspace(-2.9, 2.9, 60)) + 1e-6
    assert abs(found - math.log(T)) < 0.5


@pytest.mark.parametrize("count", [30, 60])
def test_few_labels_do_not_move_a_temperature_far(count, monkeypatch):
    """Labels that are all far from an error but for one that nearly is none: alone they would have T = 0.1."""
    margins = np.linspace(3.0, 6.0, count)
    margins[0] = -0.01
    logits, labels = np.stack([margins, np.zeros(count)], axis=1), np.arange(count) % 2
    logits[labels == 1] = logits[labels == 1, ::-1]
    assert -0.5 < fit_temperature(logits, labels) < 0.0
    monkeypatch.setattr("charrnn.training.temperature.STRENGTH", 0.0)
    assert fit_temperature(logits, labels) < -0.8


@pytest.mark.parametrize("case", ["few labels", "no error", "one label"])
def test_a_temperature_that_nothing_tells_is_one(case):
    rng = np.random.default_rng(0)
    logits = 5.0 * rng.normal(size=(29 if case == "few labels" else 1000, 3))
    labels = logits.argmax(axis=1)
    if case == "few labels":
        labels[::2] = (labels[::2] + 1) % 3
    elif case == "one label":
        labels[:] = 2
    assert fit_temperature(logits, labels) == 0.0


def test_a_temperature_at_its_bound_is_said():
    readout = LabelReadout(LABELS, 1)
    for T, notes in ((0.05, 1), (20.0, 1), (0.06, 0), (1.0, 0)):
        params = {"log_temperature": np.asarray(math.log(T), np.float32)}
        assert len(temperature_notes(readout, params)) == notes
    assert temperature_notes(LabelReadout(NUMBER, 1), {}) == ()


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_the_best_checkpoint_is_not_that_of_the_best_temperature(class_weights):
    """Of logits and their double, which differ by a temperature alone, the loss of each is its own."""
    readout = LabelReadout(Column(name="kind", values=("a", "b"), counts=(900, 100)), 1, class_weights)
    rng = np.random.default_rng(0)
    o, y = rng.normal(size=(500, 2)), rng.integers(0, 2, 500)
    w = np.array([1001 / 900.5, 1001 / 100.5]) / 2 if class_weights == "balanced" else np.ones(2)
    for scale in (1.0, 2.0):
        params = {name: torch.zeros(shape) for name, shape in readout.shapes.items()}
        found = validated(readout, params, [torch.from_numpy(scale * o)], [torch.from_numpy(y)])
        p = np.exp(scale * o) / np.exp(scale * o).sum(axis=1, keepdims=True)
        assert found == pytest.approx(float((-np.log(p[np.arange(500), y]) * w[y]).mean()), rel=1e-6)
        assert params["log_temperature"] != 0.0


LIKELIHOODS = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
"""p(x | label), of two labels and three texts."""

COUNTS = np.array([9000, 1000])


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_another_prior_is_bayes_rule(class_weights):
    """A model that has learned p(label | x) exactly, for the prior that its class weights make."""
    readout = LabelReadout(Column(name="kind", values=("a", "b"), counts=(9000, 1000)), 1, class_weights)
    pi = (COUNTS + 0.5) / (COUNTS + 0.5).sum()
    learned = pi if class_weights == "none" else np.ones(2)
    logits = np.log(LIKELIHOODS * learned[:, None]).T
    params = {"log_temperature": np.zeros(())}
    for prior, expected in ((None, learned), ("uniform", np.ones(2)), ("training", pi)):
        joint = (LIKELIHOODS * expected[:, None]).T
        p = readout.probabilities(params, logits, prior)
        np.testing.assert_allclose(p, joint / joint.sum(axis=1, keepdims=True), rtol=1e-9)


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_class_weights_make_the_prior_that_is_learned(class_weights):
    """The expected loss over texts as frequent as in training has its least at p(label | x) of that prior."""
    readout = LabelReadout(Column(name="kind", values=("a", "b"), counts=(9000, 1000)), 1, class_weights)
    pi = (COUNTS + 0.5) / (COUNTS + 0.5).sum()
    learned = pi if class_weights == "none" else np.ones(2)
    logits = torch.tensor(np.log(LIKELIHOODS * learned[:, None]).T, requires_grad=True)
    total = sum(
        pi[label] * LIKELIHOODS[label, x] * readout.nll({}, logits[x : x + 1], torch.tensor([label])).sum()
        for label in range(2)
        for x in range(3)
    )
    total.backward()
    np.testing.assert_allclose(logits.grad, 0.0, atol=1e-12)


def test_no_label_outweighs_its_batch():
    readout = LabelReadout(Column(name="kind", values=("a", "b"), counts=(10**6, 1)), 1, "balanced")
    assert readout.weights(np.array([0, 1]), np.zeros(1)).tolist() == pytest.approx([0.5, 100.0], rel=1e-3)


def test_an_epoch_reads_every_example_once_and_goes_on_from_anywhere():
    lengths = np.random.default_rng(0).integers(0, 30, 1000)
    source, whole = BucketedBatches(lengths, 16, seed=3), []
    for step in range(130):
        if step == 70:
            position, before = source.position, len(whole)
        whole.append(source.next_rows())
    per_epoch = int(source.windows_per_epoch)
    assert per_epoch == 63
    assert sorted(np.concatenate(whole[:per_epoch]).tolist()) == list(range(1000))
    assert sorted(np.concatenate(whole[per_epoch : 2 * per_epoch]).tolist()) == list(range(1000))
    assert not np.array_equal(whole[0], whole[per_epoch])
    resumed = BucketedBatches(lengths, 16, seed=3)
    resumed.seek(position)
    for expected in whole[before:]:
        np.testing.assert_array_equal(resumed.next_rows(), expected)
    spread = [np.ptp(lengths[rows]) for rows in whole]
    assert np.mean(spread) < 5 < np.ptp(lengths)


@given(st.lists(st.text("abcé ", max_size=8), min_size=1, max_size=6), st.sampled_from(["", " "]))
def test_symbols_and_rows_of_them_round_trip(texts, separator):
    symbols = Symbols.of(texts, separator)
    rows = Ragged.of([symbols.encode(text, unknown=99) for text in texts])
    expected = [text.split() if separator else list(text) for text in texts]
    assert rows.lengths.tolist() == list(map(len, expected))
    order = np.arange(len(texts))[::-1]
    padded = rows.padded(order, fill=77)
    assert padded.shape == (max(1, *map(len, expected), 1), len(texts))
    for column, row in enumerate(order):
        length = len(expected[row])
        assert [symbols.symbols[k] for k in padded[:length, column]] == expected[row]
        assert (padded[length:, column] == 77).all()
        assert symbols.decode(padded[:length, column]) == separator.join(expected[row])


# The commands ------------------------------------------------------------------------------------------------


def rows_of(count: int = 300) -> list[tuple[str, str, str]]:
    """Texts that tell by their letters what they are and by their length how large."""
    rng = random.Random(7)
    rows = []
    for _ in range(count):
        kind, length = rng.choice(["north", "south"]), rng.randint(1, 9)
        text = "".join(rng.choices("abé" if kind == "north" else "xyz", k=length))
        rows.append((kind, f"{length + 0.25}", text))
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classify")
    rows = rows_of()
    (folder / "table.tsv").write_text(
        "\n".join(["kind\tsize\ttext", *("\t".join(row) for row in rows)]) + "\n", encoding="utf-8"
    )
    (folder / "two.tsv").write_text("".join(f"{kind}\t{text}\n" for kind, _, text in rows), encoding="utf-8")
    (folder / "classes").mkdir()
    for kind in ("north", "south"):
        texts = [text for k, _, text in rows if k == kind]
        (folder / "classes" / f"{kind}.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    train(folder / "runs", folder / "two.tsv", "--task", "classify", "--name", "two", steps=60)
    arguments = ("--task", "classify", "--label-column", "size", "--text-column", "text", "--name", "size")
    train(
        folder / "runs",
        folder / "table.tsv",
        *arguments,
        "--pooling",
        "mean",
        "--learning-rate",
        "0.02",
        steps=300,
    )
    return folder


def test_what_is_told_apart_easily_is_told(folder):
    report = json.loads(succeed("eval", "two", "--checkpoints", folder / "runs", "--json").stdout)
    labels = report["labels"]
    assert labels["num_examples"] > 5
    assert labels["accuracy"] == labels["macro_f1"] == 1.0
    whole = json.loads(
        succeed("eval", "two", folder / "two.tsv", "--checkpoints", folder / "runs", "--json").stdout
    )
    assert whole["labels"]["num_examples"] == 300
    assert sum(map(sum, whole["labels"]["confusion"])) == 300
    shown = succeed("eval", "two", "--checkpoints", folder / "runs").stdout
    assert "Accuracy    100.0%" in shown
    assert "north?" in shown


def test_a_number_is_predicted(folder):
    report = json.loads(succeed("eval", "size", "--checkpoints", folder / "runs", "--json").stdout)
    assert report["labels"] is None
    assert report["numbers"]["r2"] > 0.5
    shown = succeed("eval", "size", "--checkpoints", folder / "runs").stdout
    assert "R²" in shown
    short, long = json_lines(
        succeed("predict", "size", "--checkpoints", folder / "runs", "--json", stdin="a\nxyzxyzxyz\n")
    )
    assert short["prediction"] < long["prediction"]
    assert short["candidates"] == []
    assert short["probability"] is None


def test_predictions_do_not_depend_on_their_neighbours(folder):
    model = load("two", checkpoints=folder / "runs")
    texts = ["ab", "", "zzzzzzz", "q?", "abéabé", "x"]
    together = list(model.predict(texts))
    for text, found in zip(texts, together, strict=True):
        (alone,) = model.predict([text])
        assert alone.prediction == found.prediction
        assert alone.probability == pytest.approx(found.probability, abs=1e-6)
        assert sum(c.probability for c in found.candidates) == pytest.approx(1.0)
    (decomposed,) = model.predict(["e\u0301"])
    (composed,) = model.predict(["é"])
    assert decomposed.probability == composed.probability


def test_a_uniform_prior_divides_by_the_frequencies_in_training(folder):
    model = load("two", checkpoints=folder / "runs")
    counts = dict(zip(model.saved.config.label.values, model.saved.config.label.counts, strict=True))
    for text in ("", "ab", "q?"):
        odds = []
        for prior in (None, "training", "uniform"):
            (found,) = model.predict([text], n=2, prior=prior)
            p = {c.value: c.probability for c in found.candidates}
            odds.append(p["north"] / p["south"])
        assert odds[0] == odds[1]
        assert odds[2] == pytest.approx(odds[0] * (counts["south"] + 0.5) / (counts["north"] + 0.5), rel=1e-6)
    shown = succeed("eval", "two", "--prior", "uniform", "--checkpoints", folder / "runs").stdout
    assert "uniform (--prior)" in shown


def test_balanced_classes_and_what_the_report_says_of_uneven_ones(folder):
    """The rare label, which the texts tell nothing of, is predicted as often as its prior says."""
    rng = random.Random(3)
    rows = [(rng.choices(["usual", "rare"], [19, 1])[0], "".join(rng.choices("ab", k=9))) for _ in range(400)]
    (folder / "uneven.tsv").write_text("".join(f"{kind}\t{text}\n" for kind, text in rows), encoding="utf-8")
    arguments = ("--task", "classify", "--class-weights", "balanced", "--name", "even", "--hidden-size", "4")
    train(folder / "runs", folder / "uneven.tsv", *arguments, steps=30)
    runs = ("--checkpoints", folder / "runs")
    model = load("even", checkpoints=folder / "runs")
    (own,), (usual,) = model.predict(["abab"]), model.predict(["abab"], prior="training")
    odds = {found.prediction: found.probability for found in (own, usual)}
    assert usual.prediction == "usual"
    assert own.probability < 0.75 < odds["usual"]
    lines = succeed("eval", "even", folder / "uneven.tsv", "--prior", "training", *runs).stdout.splitlines()
    assert [line.split()[0] for line in lines[2:4]] == ["Macro", "Accuracy"]
    lines = succeed("eval", "two", folder / "two.tsv", *runs).stdout.splitlines()
    assert [line.split()[0] for line in lines[2:4]] == ["Accuracy", "Macro"]


def test_unknown_labels_are_wrong_and_cost_no_nats(folder):
    (folder / "some.tsv").write_text("north\tab\nsouth\txy\n", encoding="utf-8")
    (folder / "more.tsv").write_text("north\tab\nsouth\txy\nwest\tab\nwest\tab\n", encoding="utf-8")
    some, more = (
        json.loads(succeed("eval", "two", folder / name, "--checkpoints", folder / "runs", "--json").stdout)
        for name in ("some.tsv", "more.tsv")
    )
    assert more["notes"] == ["2 labels unknown to the model ('west'): counted as wrong, left out of the nats"]
    assert some["notes"] == []
    assert more["labels"]["num_unknown_labels"] == 2
    assert more["labels"]["accuracy"] == some["labels"]["accuracy"] / 2
    assert more["labels"]["nll"] == some["labels"]["nll"]
    assert more["labels"]["per_class"][0]["recall"] == some["labels"]["per_class"][0]["recall"]
    arguments = ("--task", "classify", "--valid", folder / "more.tsv", "--steps", 1, "--hidden-size", "4")
    shown = succeed("train", folder / "two.tsv", *arguments, "--checkpoints", folder / "more").stderr
    assert "2 labels unknown to the model ('west'): left out of the validation part" in shown


def test_a_folder_of_classes_and_one_direction(folder):
    found = train(
        folder / "more", folder / "classes", "--task", "classify", "--direction", "backward", "--cell", "gru"
    )
    model = load(found["run"], checkpoints=folder / "more")
    assert model.saved.config.label.values == ("north", "south")
    assert model.saved.config.encoder.direction == "backward"


@pytest.mark.parametrize(
    ("code", "arguments", "words"),
    [
        (3, ("train", "table.tsv", "--task", "classify"), ("1, 2, 3", "--label-column")),
        (3, ("train", "table.tsv", "--task", "classify", "--label-column", "sort", "--text-column", "text"),
         ("no column 'sort'", "kind, size, text")),
        (2, ("train", "two.tsv", "--task", "classify", "--context", "1"), ("--context",)),
        (2, ("train", "two.tsv", "--task", "classify", "--cell", "output_recurrent"), ("--feedback output",)),
        (2, ("predict", "two", "--given", "x"), ("--given",)),
        (4, ("sample", "two"), ("--task classify", "charrnn predict")),
        (4, ("score", "two"), ("--task classify",)),
        (2, ("eval", "two", "--max-bits-per-char", "2"), ("--max-bits-per-char",)),
        (3, ("eval", "two", "unseen.tsv"), ("line 1", "'west'", "as all labels here", "north, south")),
        (2, ("eval", "size", "--prior", "uniform"), ("--prior uniform", "the number size")),
        (2, ("predict", "size", "--prior", "uniform"), ("--prior uniform", "the number size")),
        (2, ("predict", "two", "--indent"), ("--indent",)),
        (2, ("train", "table.tsv", "--task", "classify", "--label-column", "size", "--text-column", "text",
             "--class-weights", "balanced"), ("--class-weights balanced", "size:category")),
        (2, ("train", "two.tsv", "--task", "tag", "--class-weights", "balanced"), ("--class-weights", "classify")),
        (3, ("predict", "two", "long.txt"), ("10,000",)),
        (3, ("train", "one.tsv", "--task", "classify"), ("always 'north'",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)  # fmt: skip
def test_bad_input_is_one_line(code, arguments, words, folder, monkeypatch):
    monkeypatch.chdir(folder)
    Path("unseen.tsv").write_text("west\tab\nwest\tab\n", encoding="utf-8")
    Path("one.tsv").write_text("north\tab\nnorth\tba\nnorth\tbb\n", encoding="utf-8")
    Path("long.txt").write_text("a" * (LONGEST + 1) + "\n", encoding="utf-8")
    line = fail(code, *arguments, "--checkpoints", folder / "runs", stdin="ab\n")
    assert all(word in line for word in words), line
