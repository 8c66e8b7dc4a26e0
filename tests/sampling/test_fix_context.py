"""Text given the columns of a table: at one context a model is a plain one, and every command takes contexts."""

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import fail, json_lines, succeed, train
from helpers_context import MODES, TEXTS, conditioned, nll, stateless
from helpers_models import alphabet_of, each_model, random_params, whole_steps

from charrnn.api import load
from charrnn.models.store import ModelConfig, SavedModel
from charrnn.sampling.ancestral import Request
from charrnn.sampling.fix_context import fix_context
from charrnn.tasks.generate.mixture import MOST_CONTEXTS, Mixture, steppers

LETTERS = {"north": "ab", "south": "xy", "west": "bx"}


def table_rows(count: int = 240) -> list[tuple[str, str, str]]:
    """Names whose letters follow from where they are from, and whose length from a number."""
    rng = random.Random(5)
    rows = []
    for _ in range(count):
        place, length = rng.choice(list(LETTERS)), rng.randint(1, 6)
        rows.append((place, f"{length + rng.random() / 2:.3f}", "".join(rng.choices(LETTERS[place], k=length))))
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("given")
    rows = table_rows()
    lines = ["place\tsize\tname", *("\t".join(row) for row in rows)]
    (folder / "names.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "bare.tsv").write_text("\n".join(lines[1:]) + "\n", encoding="utf-8")
    classes = folder / "classes"
    classes.mkdir()
    for place in LETTERS:
        named = [name for where, _, name in rows if where == place]
        (classes / f"{place}.txt").write_text("\n".join(named) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def runs(folder: Path) -> Path:
    root = folder / "runs"
    train(root, folder / "names.tsv", "--context", "place", "--context", "size", "--name", "both")
    train(root, folder / "classes", "--context", "place", "--name", "classes", "--stop", "all", steps=150)
    return root


@pytest.mark.parametrize("mode", MODES)
@each_model
def test_a_model_at_one_context_is_a_plain_model(cell, options, mode):
    """So whatever was proved of plain ones, that they sum to one and end, holds given every context."""
    if stateless(cell, options, mode):
        return
    model = conditioned(cell, options, mode, stop=("eos", "halt", "length"))
    params = random_params(model.shapes, seed=4, scale=0.5)
    x = np.array([0.7, -1.3])
    plain, fixed = fix_context(model, params, x)
    assert plain.config.context_size == 0
    assert not plain.adds_context
    assert not plain.starts_from_context
    steps = whole_steps(TEXTS, ["halt", "length", "eos"], alphabet_of(2))
    expected = nll(model, params, steps._replace(context=np.tile(x, (len(TEXTS), 1))))
    np.testing.assert_allclose(nll(plain, fixed, steps), expected, rtol=1e-9)
    other = nll(model, params, steps._replace(context=np.zeros((len(TEXTS), 2))))
    assert (np.abs(other - expected) > 1e-6).all()


def test_a_mixture_draws_from_each_context_alike():
    model = conditioned("gru", {}, "both", stop=("eos",))
    params = random_params(model.shapes, seed=4, scale=0.3, dtype=np.float32)
    config = ModelConfig(cell="gru", vocab_size=2, hidden_size=3, num_layers=2, stop=("eos",), training_chars=9,
                         split="line", order="independent")  # fmt: skip
    saved = SavedModel(config, model, params, alphabet_of(2), "")
    contexts = np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32)
    models = steppers(saved, contexts, seed=1)
    assert len(models) == MOST_CONTEXTS
    assert len(steppers(saved, contexts[:3], seed=1)) == 3
    drawn = list(Mixture(models[:4], Request(stop="eos", max_chars=5)).draw(range(10)))
    assert len(drawn) == 12
    assert sorted(d.number for d in drawn) == sorted([0, 1, 2] * 4)


def test_texts_follow_what_was_asked_for(runs):
    """After a few steps already: the letters of a place, when that place is given."""
    for place, letters in LETTERS.items():
        texts = [sample.text for sample in load("classes", checkpoints=runs).sample(40, given=place, seed=1)]
        share = np.mean([c in letters for text in texts for c in text])
        assert share > 0.8, (place, share)


def test_prediction_is_bayes_rule(runs, folder):
    """Against the scores of each place and the counts of the training rows, by hand."""
    model = load("classes", checkpoints=runs)
    (column,) = model.saved.config.columns
    total = sum(column.counts) + 0.5 * len(column.values)
    for found in model.predict(["abba", "xyx", "q", ""], n=3, stop="halt"):
        joint = {}
        for value, count in zip(column.values, column.counts, strict=True):
            (score,) = model.score([found.input], "halt", given=value)
            joint[value] = math.exp(-score.nll) * (count + 0.5) / total
        assert [c.value for c in found.candidates] == sorted(joint, key=joint.__getitem__, reverse=True)
        for candidate in found.candidates:
            expected = joint[candidate.value] / sum(joint.values())
            assert candidate.probability == pytest.approx(expected, rel=1e-4)
        assert found.prediction == found.candidates[0].value
        assert found.probability == found.candidates[0].probability
    lines = json_lines(
        succeed("predict", "classes", "--checkpoints", runs, "-n", "2", "--json", stdin="abab\nxyyx\n")
    )
    assert [line["prediction"] for line in lines] == ["north", "south"]
    assert all(len(line["candidates"]) == 2 for line in lines)
    plain = succeed("predict", "classes", "--checkpoints", runs, stdin="abab\n").stdout
    assert plain.startswith("north\t0.")
    assert plain.endswith("\tabab\n")


def test_a_sample_costs_what_score_says(runs):
    arguments = ("--given", "place=south", "--given", "size=3.5", "--checkpoints", runs)
    samples = succeed("sample", "both", *arguments, "-n", "5", "--json", "--seed", "2")
    for sample in json_lines(samples):
        (scored,) = json_lines(succeed("score", "both", *arguments, "--json", stdin=sample["text"] + "\n"))
        assert scored["nll"] == pytest.approx(-sample["logprob"], abs=1e-4)


def test_an_evaluation_reads_each_row_with_its_context(runs, folder):
    """Against `score` of each row, given what stands beside it."""
    own = json.loads(succeed("eval", "both", "--checkpoints", runs, "--json", "--quiet").stdout)
    assert own["num_sequences"] > 0
    some = folder / "some.tsv"
    rows = table_rows()[:12]
    text = "name\tplace\tsize\n" + "".join(f"{name}\t{place}\t{size}\n" for place, size, name in rows)
    some.write_text(text, encoding="utf-8")
    report = json.loads(succeed("eval", "both", some, "--checkpoints", runs, "--json", "--quiet").stdout)
    model = load("both", checkpoints=runs)
    total = 0.0
    for place, size, name in rows:
        (score,) = model.score([name], given=[f"place={place}", f"size={size}"])
        total += score.nll
    assert report["nll"] == pytest.approx(total, rel=1e-5)
    assert report["overlap"] > 0


def test_a_table_without_a_header_is_asked_by_number(folder):
    found = train(folder / "by-number", folder / "bare.tsv", "--context", "1", "--text-column", "3")
    model = load(found["run"], checkpoints=folder / "by-number")
    (column,) = model.saved.config.columns
    assert column.values == tuple(sorted(LETTERS))
    parts = sum(column.counts)
    assert 0.8 * 240 < parts < 240


def test_a_text_column_alone_conditions_nothing(folder):
    found = train(folder / "alone", folder / "names.tsv", "--text-column", "name")
    assert load(found["run"], checkpoints=folder / "alone").saved.config.columns == ()


NAMES = ("train", "names.tsv", "--context")


@pytest.mark.parametrize(
    ("code", "arguments", "words"),
    [
        (3, ("train", "names.tsv", "--context", "plaice"), ("no column 'plaice'", "place, size, name")),
        (3, ("train", "names.tsv", "--context", "place"), ("size, name", "--text-column")),
        (3, ("train", "names.tsv", "--context", "name", "--text-column", "name"), ("cannot be both",)),
        (3, (*NAMES, "name:number", "--text-column", "place"), ("line 2", "not a number")),
        (2, (*NAMES, "place", "--text-column", "name", "--order", "ordered"), ("--order",)),
        (2, (*NAMES, "place", "--text-column", "name", "--cell", "output_recurrent"), ("--context-mode add",)),
        (2, ("sample", "both"), ("--given place=VALUE", "north, south, west")),
        (2, ("sample", "both", "--given", "place=north"), ("size", "number")),
        (2, ("sample", "both", "--given", "place=north", "--given", "place=south"), ("twice",)),
        (3, ("sample", "both", "--given", "place=east", "--given", "size=1"), ("'east'", "north, south, west")),
        (3, ("sample", "both", "--given", "place=west", "--given", "size=big"), ("'big'", "not a number")),
        (2, ("score", "both"), ("--given",)),
        (2, ("predict", "both"), ("place, size", "--given")),
        (2, ("eval", "both", "names.tsv", "--split", "paragraph"), ("--split",)),
        (3, ("eval", "both", "bare.tsv"), ("no column",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)  # fmt: skip
def test_bad_input_is_one_line(code, arguments, words, runs, folder, monkeypatch):
    monkeypatch.chdir(folder)
    line = fail(code, *arguments, "--checkpoints", runs, stdin="ab\n")
    assert all(word in line for word in words), line


def test_a_plain_model_takes_no_context(folder, tmp_path):
    plain = tmp_path / "plain.txt"
    plain.write_text("ab\nba\n" * 40, encoding="utf-8")
    train(tmp_path, plain)
    assert "conditioned" in fail(2, "sample", "--given", "x", "--checkpoints", tmp_path)
    assert "conditioned" in fail(2, "predict", "--given", "x", "--checkpoints", tmp_path, stdin="ab\n")


def test_a_validation_table_is_read_with_the_same_columns(folder, tmp_path):
    valid = tmp_path / "valid.tsv"
    valid.write_text("name\tplace\tsize\nab\tnorth\t2\nxy\teast\t2\n", encoding="utf-8")
    arguments = ("--context", "place", "--text-column", "name", "--valid", valid)
    line = fail(3, "train", folder / "names.tsv", *arguments, "--checkpoints", tmp_path, "--steps", "1")
    assert "valid.tsv, line 3" in line
    assert "north, south, west" in line
