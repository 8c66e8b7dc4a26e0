"""Encoder-decoders: likelihoods, every path of the context, search against enumeration, and the commands."""

import itertools
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_cli import fail, invoke, json_lines, succeed, train
from helpers_models import as_torch, assert_follows, random_params

from charrnn.api import load
from charrnn.config import StopName
from charrnn.corpus.steps import STOP_INDEX, map_arrays
from charrnn.corpus.symbols import Ragged, Symbols
from charrnn.errors import UsageError
from charrnn.models.encoder import EncoderConfig
from charrnn.models.language_model import GeneratorConfig
from charrnn.models.store import SavedPair
from charrnn.sampling.beam import Search
from charrnn.tasks.rows.pairs import Pairs
from charrnn.tasks.transduce.encoder_decoder import EncoderDecoder, Transduced, TransducerConfig, batch_of
from charrnn.tasks.transduce.predict import SavedTransducer, alignment, search

SOURCE, TARGET = Symbols(tuple("abc")), Symbols(tuple("xy"))
INPUTS = ["abca", "", "c", "qb"]
"""The last one begins with a symbol that no model here knows."""

ENDINGS: tuple[StopName, ...] = ("eos", "halt", "length")
CASES = [
    ("lstm", {}),
    ("gru", {"num_layers": 2}),
    ("tanh", {"attention": "additive"}),
    ("lstm", {"attention": "dot", "num_layers": 2}),
    ("leaky", {"attention": "additive", "num_layers": 2, "direction": "forward"}),
    ("min_gru", {"attention": "dot", "direction": "backward"}),
]
each_case = pytest.mark.parametrize(("cell", "settings"), CASES, ids=str)


def make(cell: str, settings: dict[str, Any], *, mode: str = "both", stop: tuple[StopName, ...] = ENDINGS) -> Any:
    given = dict(settings)
    attention, direction = given.pop("attention", None), given.pop("direction", "both")
    layers: dict[str, Any] = {"cell": cell, "hidden_size": 3, "num_layers": 1, **given}
    encoder = EncoderConfig(**layers, vocab_size=SOURCE.size, direction=direction)
    E = 6 if direction == "both" else 3
    decoder = GeneratorConfig(
        **layers,
        vocab_size=TARGET.size,
        context_size=E,
        context_mode=mode,  # type: ignore[arg-type]
        attention=attention,
        memory_size=E if attention else 0,
        stop=stop,
        length_scale=2.0,
        training_chars=10,
    )
    config = TransducerConfig(source_column="1", target_column="2", encoder=encoder, decoder=decoder)
    return EncoderDecoder(config)


def saved(model: EncoderDecoder, seed: int = 3, scale: float = 0.7) -> SavedTransducer:
    params = random_params(model.shapes, seed=seed, scale=scale)
    return SavedPair(model.config, model, params, "", SOURCE, TARGET)


def pairs_of(inputs: list[str], outputs: list[str]) -> Pairs:
    encoded = [SOURCE.encode(text, SOURCE.size) for text in inputs]
    written = [TARGET.encode(text, TARGET.size + 1) for text in outputs]
    return Pairs(inputs, outputs, Ragged.of(encoded), Ragged.of(written), None)


def batch(inputs: list[str], outputs: list[str], stop: StopName) -> Transduced:
    stops = np.full(len(inputs), STOP_INDEX[stop])
    return batch_of(SOURCE, TARGET, pairs_of(inputs, outputs), np.arange(len(inputs)), stops)


def all_outputs(longest: int) -> list[str]:
    return ["".join(t) for n in range(longest + 1) for t in itertools.product(TARGET.symbols, repeat=n)]


@pytest.mark.parametrize("stop", ENDINGS)
@each_case
def test_torch_and_a_pair_alone_agree(cell, settings, stop):
    model = make(cell, settings)
    params = random_params(model.shapes, seed=3, scale=0.5)
    outputs = ["xyx", "yy", "", "y"]
    expected = model.nll(params, batch(INPUTS, outputs, stop))
    together = batch(INPUTS, outputs, stop)
    tensors = Transduced(*map(torch.from_numpy, together[:2]), map_arrays(torch.from_numpy, together.steps))
    found = model.nll(as_torch(params), tensors)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-9)
    for row, (source, target) in enumerate(zip(INPUTS, outputs, strict=True)):
        np.testing.assert_allclose(model.nll(params, batch([source], [target], stop)), expected[row], rtol=1e-9)


@pytest.mark.parametrize("mode", ["add", "init", "both"])
@each_case
def test_every_parameter_has_a_part_in_the_likelihood(cell, settings, mode):
    """So no path from the input to the output, attention's included, is one in name only."""
    model = make(cell, settings, mode=mode)
    params = as_torch(random_params(model.shapes, seed=3, scale=0.5))
    for stop in ENDINGS:
        together = batch(["abca", "cab"], ["xyxy", "yyx"], stop)
        tensors = Transduced(*map(torch.from_numpy, together[:2]), map_arrays(torch.from_numpy, together.steps))
        model.nll(params, tensors).sum().backward()
    for name, value in params.items():
        assert value.grad is not None, name
        assert float(value.grad.abs().max()) > 1e-9, name
    assert any("attention" in name for name in params) == ("attention" in settings)


@pytest.mark.parametrize("stop", ["eos", "halt", pytest.param("length", marks=pytest.mark.slow)])
@each_case
def test_a_wide_beam_finds_what_enumeration_finds(cell, settings, stop):
    """The likeliest of all outputs, with its own likelihood; by its mean a symbol just as well."""
    model = make(cell, settings, stop=(stop,))
    found = saved(model, scale=1.0)
    outputs = all_outputs(6)
    inputs = Ragged.of([SOURCE.encode(text, SOURCE.size) for text in INPUTS])
    for power in (0.0, 1.0):
        results = list(search(found, inputs, None, how=Search(beam=128, length_penalty=power), n=3))
        for text, best in zip(INPUTS, results, strict=True):
            nll = model.nll(found.params, batch([text] * len(outputs), outputs, stop))
            lengths = np.array([len(output) + 1 for output in outputs])
            ranked = np.argsort(nll / lengths**power)
            # Among all outputs of up to six symbols; a longer one may be likelier still by its mean.
            short = [h for h in best if len(h.symbols) <= 6]
            if len(best[0].symbols) <= 6:
                assert TARGET.decode(best[0].symbols) == outputs[ranked[0]]
            for h in short:
                expected = nll[outputs.index(TARGET.decode(h.symbols))]
                assert h.log_prob == pytest.approx(-expected, rel=1e-9)
                assert h.ended
            assert [h.score for h in best] == sorted((h.score for h in best), reverse=True)


@pytest.mark.parametrize("stop", ENDINGS)
@each_case
def test_neighbours_change_nothing_that_is_found(cell, settings, stop):
    found = saved(make(cell, settings))
    inputs = Ragged.of([SOURCE.encode(text, SOURCE.size) for text in INPUTS])
    together = list(search(found, inputs, None, stop=stop, how=Search(beam=3), n=2))
    for row, expected in enumerate(together):
        (alone,) = search(found, inputs.take(np.array([row])), None, stop=stop, how=Search(beam=3), n=2)
        assert [h.symbols.tolist() for h in alone] == [h.symbols.tolist() for h in expected]
        np.testing.assert_allclose([h.log_prob for h in alone], [h.log_prob for h in expected], rtol=1e-9)


@pytest.mark.parametrize("stop", ENDINGS)
def test_draws_follow_the_distribution(stop):
    model = make("gru", {"attention": "dot"}, stop=(stop,))
    found = saved(model, scale=0.5)
    count = 3000
    inputs = Ragged.of([SOURCE.encode("abca", SOURCE.size)] * count)
    drawn = [TARGET.decode(h[0].symbols) for h in search(found, inputs, None, how=Search(seed=5))]
    (again,) = search(found, inputs.take(np.array([7])), None, how=Search(seed=5), number=7)
    assert TARGET.decode(again[0].symbols) == drawn[7]
    outputs = all_outputs(4)
    p = np.exp(-model.nll(found.params, batch(["abca"] * len(outputs), outputs, stop)))
    counts = [drawn.count(output) for output in outputs]
    assert_follows([*counts, count - sum(counts)], [*p, 1.0 - p.sum()])


def test_where_it_looks_is_what_reading_the_output_looks_at():
    found = saved(make("lstm", {"attention": "additive", "num_layers": 2}, stop=("eos",)))
    source, output = SOURCE.encode("abca", 3).astype(np.int64), TARGET.encode("xyx", 3).astype(np.int64)
    weights = alignment(found, source, None, output, "eos")
    assert weights.shape == (3, 4)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    with pytest.raises(UsageError, match="no attention"):
        alignment(saved(make("lstm", {})), source, None, output, "eos")


def test_each_way_to_end_looks_in_its_own_way():
    """Of a model with several, the count is read under `length` alone."""
    found = saved(make("lstm", {"attention": "dot"}))
    source, output = SOURCE.encode("abca", 3).astype(np.int64), TARGET.encode("xyx", 3).astype(np.int64)
    by_eos, by_halt, by_length = (alignment(found, source, None, output, stop) for stop in ENDINGS)
    np.testing.assert_allclose(by_eos, by_halt)
    assert np.abs(by_eos - by_length).max() > 1e-6


# The commands ------------------------------------------------------------------------------------------------

PHONES = {"a": "AH", "b": "B", "c": "K"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Words spelled out in phones, backwards where that is asked for; some have two pronunciations."""
    folder = tmp_path_factory.mktemp("transduce")
    rng, rows = random.Random(3), []
    for _ in range(400):
        word = "".join(rng.choices("abc", k=rng.randint(1, 5)))
        way = rng.choice(["on", "back"])
        phones = [PHONES[c] for c in (word if way == "on" else word[::-1])]
        rows.append((word, " ".join(phones), way))
    bare = "".join("\t".join(row[:2]) + "\n" for row in rows if row[2] == "on")
    (folder / "bare.tsv").write_text(bare, encoding="utf-8")
    (folder / "both.tsv").write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    arguments = ("--task", "transduce", "--target-sep", " ", "--learning-rate", "0.02", "--num-layers", "1")
    root = folder / "runs"
    train(root, folder / "bare.tsv", *arguments, "--name", "bare", "--hidden-size", "24", steps=220)
    train(root, folder / "both.tsv", *arguments, "--context", "3", "--name", "both", "--stop", "all", steps=10)
    train(root, folder / "bare.tsv", *arguments, "--name", "blind", "--attention", "none", steps=2)
    return folder


def test_words_are_spelled(folder):
    report = json.loads(succeed("eval", "bare", "--checkpoints", folder / "runs", "--json", "--quiet").stdout)
    assert report["figures"]["num_inputs"] > 3
    assert report["figures"]["exact_match"] > 0.6
    shown = succeed("eval", "bare", folder / "bare.tsv", "--checkpoints", folder / "runs", "--beam", "1").stdout
    assert "greedy" in shown
    (line,) = json_lines(succeed("predict", "bare", "--checkpoints", folder / "runs", "--json", stdin="abc\n"))
    assert line["prediction"] == "AH B K"
    assert 0.0 < line["probability"] <= 1.0


@pytest.mark.parametrize(("run", "stops"), [("bare", ["eos"]), ("both", ["eos", "halt", "length"])])
def test_the_report_s_likelihood_is_that_of_training(run, stops, folder):
    """Validation in training is the mean over the mechanisms, in torch."""
    steps = map(json.loads, (folder / "runs" / run / "metrics.jsonl").read_text().splitlines())
    best = min(line["eval_loss"] for line in steps if line["eval_loss"] is not None)
    arguments = ("eval", run, "--part", "valid", "--checkpoints", folder / "runs", "--json", "--quiet")
    losses = [json.loads(succeed(*arguments, "--stop", stop).stdout)["loss"] for stop in stops]
    assert sum(losses) / len(losses) == pytest.approx(best, rel=1e-5)


def test_an_alignment_is_shown(folder):
    shown = succeed("predict", "bare", "--checkpoints", folder / "runs", "--attention", stdin="abc\n").stdout
    first, head, *rows = shown.splitlines()
    assert first.startswith("AH B K\t")
    assert head.split() == ["a", "b", "c"]
    assert [row.split()[0] for row in rows] == ["AH", "B", "K"]
    assert max(map(len, rows)) <= 80


def test_alignments_are_drawn(folder, tmp_path):
    for name in ("looked.png", "looked.svg"):
        path = tmp_path / name
        succeed("predict", "bare", "--checkpoints", folder / "runs", "--picture", path, stdin="abc\ncab\n")
        assert path.stat().st_size > 1000
    line = fail_after_output("predict", "bare", "--checkpoints", folder / "runs", "--picture", tmp_path / "a.xyz")
    assert "a.xyz" in line
    assert "png" in line


def fail_after_output(*arguments: str | Path) -> str:
    result = invoke(*arguments, stdin="abc\n")
    assert result.exit_code == 2
    return result.stderr


def test_several_outputs_of_one_input_are_all_right(folder, tmp_path):
    variants = tmp_path / "variants.tsv"
    variants.write_text("abc\tZ\nabc\tAH B K\n", encoding="utf-8")
    report = json.loads(succeed("eval", "bare", variants, "--checkpoints", folder / "runs", "--json").stdout)
    assert report["figures"] == {
        "num_inputs": 1, "num_references": 2, "exact_match": 1.0, "word_error_rate": 0.0, "symbol_error_rate": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize("stop", ENDINGS)
def test_columns_stand_behind_the_input_or_are_given(folder, stop):
    arguments = ("predict", "both", "--checkpoints", folder / "runs", "--stop", stop, "--json", "-n", "2")
    (line,) = json_lines(succeed(*arguments, stdin="ab\tback\n"))
    (same,) = json_lines(succeed(*arguments, "--given", "back", stdin="ab\n"))
    assert line["candidates"] == same["candidates"]
    (other,) = json_lines(succeed(*arguments, "--given", "on", stdin="ab\n"))
    assert other["candidates"] != same["candidates"]


def test_a_prediction_s_probability_is_its_likelihood(folder):
    model = load("bare", checkpoints=folder / "runs")
    data = model.saved
    assert isinstance(data, SavedPair)
    (found,) = model.predict(["cab"], n=3)
    pairs = Pairs(
        ["cab"] * 3,
        [c.value for c in found.candidates],
        Ragged.of([data.source.encode("cab", data.source.size)] * 3),
        Ragged.of([data.target.encode(c.value, data.target.size + 1) for c in found.candidates]),
        None,
    )
    eos = np.full(3, STOP_INDEX["eos"])
    nll = data.model.nll(data.params, batch_of(data.source, data.target, pairs, np.arange(3), eos))
    for candidate, nats in zip(found.candidates, nll, strict=True):
        assert candidate.probability == pytest.approx(math.exp(-nats), rel=1e-4)


@pytest.mark.parametrize(
    ("code", "arguments", "words"),
    [
        (3, ("train", "bare.tsv", "--task", "transduce", "--target-column", "5"), ("no column '5'", "1, 2")),
        (3, ("train", "plain.txt", "--task", "transduce"), ("no column '2'",)),
        (3, ("train", "torn.tsv", "--task", "transduce"), ("torn.tsv, line 2", "1 column")),
        (2, ("train", "bare.tsv", "--task", "transduce", "--stop", "none"), ("--stop none",)),
        (3, ("train", "bare.tsv", "--task", "transduce", "--target-column", "1"), ("columns of their own",)),
        (3, ("predict", "both"), ("between tabs", "--given")),
        (3, ("predict", "both", "--given", "sideways"), ("'sideways'", "back, on")),
        (2, ("predict", "bare", "--stop", "halt"), ("--stop halt", "eos")),
        (2, ("predict", "blind", "--attention"), ("has no attention",)),
        (4, ("sample", "bare"), ("--task transduce",)),
        (2, ("eval", "bare", "--max-bits-per-char", "2"), ("--max-bits-per-char",)),
        (3, ("eval", "both", "bare.tsv"), ("no column '3'",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)  # fmt: skip
def test_bad_input_is_one_line(code, arguments, words, folder, monkeypatch):
    monkeypatch.chdir(folder)
    Path("plain.txt").write_text("ab\nba\n", encoding="utf-8")
    Path("torn.tsv").write_text("ab\tba\nba\n", encoding="utf-8")
    line = fail(code, *arguments, "--checkpoints", folder / "runs", stdin="ab\n")
    assert all(word in line for word in words), line
