"""Taggers: likelihoods against a loop by hand, total probability, search against enumeration, and the commands."""

import itertools
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_cli import fail, json_lines, succeed, train
from helpers_models import CELL_CASES, as_torch, assert_follows, each_of, random_params

from charrnn.api import load, train_config
from charrnn.corpus.symbols import Ragged, Symbols
from charrnn.models.encoder import EncoderConfig
from charrnn.models.language_model import GeneratorConfig
from charrnn.models.store import SavedPair
from charrnn.sampling.beam import Search
from charrnn.tasks.rows.pairs import PairDataset, Pairs
from charrnn.tasks.tag.predict import SavedTagger, likeliest, search_tags
from charrnn.tasks.tag.tagger import Tagged, Tagger, TaggerConfig, batch_of
from charrnn.tasks.tag.train import TagLearner
from charrnn.tasks.tag.train import chosen_for as resolve_tagger

SOURCE, TARGET = Symbols(tuple("abc")), Symbols(tuple("xyz"))
INPUTS = ["abca", "", "c", "qb"]
"""The last one begins with a symbol that no model here knows."""

CASES = [(cell, options) for cell, options in CELL_CASES if cell != "output_recurrent" or options]
EDGES = {"independent": (False,), "edges": (True,)}
each_tagger = each_of(("edges",), CASES, EDGES, lambda _number: EDGES)
each_edges = pytest.mark.parametrize("edges", [False, True], ids=list(EDGES))


def make(cell: str, options: dict[str, Any], edges: bool, direction: Any = "both", **settings: Any) -> Tagger:
    layers: dict[str, Any] = {"cell": cell, "cell_options": options, "hidden_size": 3, "num_layers": 1}
    encoder = EncoderConfig(**layers, vocab_size=SOURCE.size, direction=direction, **settings)
    plain: dict[str, Any] = {"source_column": "1", "target_column": "2", "encoder": encoder, "training_chars": 10}
    tagger = Tagger(TaggerConfig(**plain, num_tags=TARGET.size))
    if not edges or cell == "output_recurrent":
        return tagger
    decoder = GeneratorConfig(
        **layers,
        vocab_size=TARGET.size,
        context_size=tagger.encoder.output_size,
        context_mode="add",
        context_readout=True,
        stop=("none",),
        training_chars=10,
    )
    return Tagger(TaggerConfig(**plain, num_tags=TARGET.size, decoder=decoder))


def saved(model: Tagger, scale: float = 1.0) -> SavedTagger:
    params = random_params(model.shapes, seed=3, scale=scale)
    return SavedPair(model.config, model, params, "", SOURCE, TARGET)


def inputs_of(texts: list[str]) -> Ragged:
    return Ragged.of([SOURCE.encode(text, SOURCE.size) for text in texts])


def batch(model: Tagger, inputs: list[str], outputs: list[str]) -> Tagged:
    written = Ragged.of([TARGET.encode(text, TARGET.size + 1) for text in outputs])
    pairs = Pairs(inputs, outputs, inputs_of(inputs), written, None)
    return batch_of(model, pairs, np.arange(len(inputs)))


def all_outputs(length: int) -> list[str]:
    return ["".join(t) for t in itertools.product(TARGET.symbols, repeat=length)]


@each_tagger
def test_the_outputs_of_an_input_have_probability_one(cell, options, edges):
    found = saved(make(cell, options, edges))
    for text in INPUTS:
        outputs = all_outputs(len(text))
        nll = found.model.nll(found.params, batch(found.model, [text] * len(outputs), outputs))
        assert np.exp(-nll).sum() == pytest.approx(1.0, abs=1e-9)


@each_tagger
def test_torch_and_a_row_alone_agree(cell, options, edges):
    found, outputs = saved(make(cell, options, edges)), ["xyxz", "", "y", "?z"]
    together = batch(found.model, INPUTS, outputs)
    expected = found.model.nll(found.params, together)
    tensors = Tagged(*map(torch.from_numpy, together))
    in_torch = found.model.nll(as_torch(found.params), tensors)
    np.testing.assert_allclose(in_torch.detach().numpy(), expected, rtol=1e-9)
    for row, pair in enumerate(zip(INPUTS, outputs, strict=True)):
        alone = found.model.nll(found.params, batch(found.model, *([text] for text in pair)))
        np.testing.assert_allclose(alone, expected[row], rtol=1e-9)


def test_the_edges_are_those_of_the_book():
    """g(t) = tanh(b + W g(t−1) + U y(t−1) + R h(t)), a step at a time."""
    found = saved(make("tanh", {}, True))
    h = found.model.read(found.params, np.array([[0], [2], [1]]), np.array([3]))[:, 0]
    p = {name.removeprefix("decoder."): value for name, value in found.params.items()}
    g, before, total = np.zeros(3), 3, 0.0
    for t, y in enumerate([1, 0, 2]):
        U, R = p["layers.0.weight_ih"], p["context.weight"]
        g = np.tanh(p["layers.0.bias"] + p["layers.0.weight_hh"] @ g + U[:, before] + R @ h[t])
        o = p["readout.bias"] + p["readout.weight"] @ np.concatenate([g, h[t]])
        total -= o[y] - np.log(np.exp(o).sum())
        before = y
    nll = found.model.nll(found.params, batch(found.model, ["acb"], ["yxz"]))
    assert nll[0] == pytest.approx(total, rel=1e-9)


def test_without_edges_outputs_are_independent_and_with_them_they_are_not():
    for edges in (False, True):
        found = saved(make("gru", {}, edges))
        outputs = all_outputs(2)
        p = np.exp(-found.model.nll(found.params, batch(found.model, ["ab"] * 9, outputs))).reshape(3, 3)
        product = p.sum(axis=1)[:, None] * p.sum(axis=0)
        assert (np.abs(p - product).max() < 1e-9) == (not edges)


@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
@each_edges
def test_every_parameter_has_a_part_in_the_likelihood(edges, direction):
    model = make("lstm", {}, edges, direction)
    params = as_torch(random_params(model.shapes, seed=3, scale=0.5))
    model.nll(params, Tagged(*map(torch.from_numpy, batch(model, ["abca"], ["xyzx"])))).sum().backward()
    for name, value in params.items():
        assert value.grad is not None, name
        assert float(value.grad.abs().max()) > 1e-9, name


@each_tagger
def test_a_wide_beam_finds_what_enumeration_finds(cell, options, edges):
    found = saved(make(cell, options, edges))
    for text, best in zip(INPUTS, search_tags(found, inputs_of(INPUTS), how=Search(beam=81), n=4), strict=True):
        outputs = all_outputs(len(text))
        nll = found.model.nll(found.params, batch(found.model, [text] * len(outputs), outputs))
        ranked = np.argsort(nll, kind="stable")[:4]
        assert [TARGET.decode(h.symbols) for h in best] == [outputs[k] for k in ranked]
        np.testing.assert_allclose([h.log_prob for h in best], -nll[ranked], rtol=1e-9, atol=1e-12)
        assert all(h.ended for h in best)


@each_edges
def test_neighbours_change_nothing_that_is_found_or_drawn(edges):
    found, inputs = saved(make("lstm", {}, edges)), inputs_of(INPUTS)
    for how in (Search(beam=2), Search(seed=9), Search(seed=9, temperature=0.5)):
        together = list(search_tags(found, inputs, how=how, n=2))
        for row, expected in enumerate(together):
            (alone,) = search_tags(found, inputs.take(np.array([row])), how=how, n=2, number=row)
            assert [h.symbols.tolist() for h in alone] == [h.symbols.tolist() for h in expected]
            np.testing.assert_allclose([h.log_prob for h in alone], [h.log_prob for h in expected], rtol=1e-9)


@each_edges
def test_draws_follow_the_distribution(edges):
    found, count = saved(make("gru", {}, edges)), 3000
    drawn = [h for (h,) in search_tags(found, inputs_of(["ab"] * count), how=Search(seed=5))]
    outputs = all_outputs(2)
    nll = found.model.nll(found.params, batch(found.model, ["ab"] * 9, outputs))
    texts = [TARGET.decode(h.symbols) for h in drawn]
    assert_follows([texts.count(output) for output in outputs], list(np.exp(-nll)))
    assert drawn[0].log_prob == pytest.approx(-nll[outputs.index(texts[0])], rel=1e-9)


def test_the_likeliest_of_independent_symbols():
    log_p = np.log(np.random.default_rng(1).dirichlet(np.ones(4), size=5))
    every = sorted((log_p[range(5), y].sum() for y in itertools.product(range(4), repeat=5)), reverse=True)
    np.testing.assert_allclose([h.log_prob for h in likeliest(log_p, 30)], every[:30])


def test_symbol_dropout_blurs_its_share_of_the_input():
    model = make("lstm", {}, False)
    written = Ragged.of([TARGET.encode("xyzx" * 50, TARGET.size + 1)])
    pairs = Pairs(["abca" * 50], ["xyzx" * 50], inputs_of(["abca" * 50]), written, None)
    data = PairDataset((), "", 0, "1", "2", SOURCE, TARGET, (), pairs, pairs, pairs, ())
    asked = train_config(corpus=["x"], task="tag", seed=1, symbol_dropout=0.25, steps=1)
    learner = TagLearner(
        model, random_params(model.shapes, seed=1), data, resolve_tagger(asked, 200), torch.device("cpu")
    )
    ids = torch.from_numpy(np.arange(40_000).reshape(200, 200) % 3)
    masked = learner.mask_symbols(ids, 3, np.random.default_rng(0))
    assert float((masked == 3).double().mean()) == pytest.approx(0.25, abs=0.01)
    assert bool(((masked == ids) | (masked == 3)).all())
    assert bool((masked == learner.mask_symbols(ids, 3, np.random.default_rng(0))).all())


def test_a_language_model_beside_the_task_is_learned_and_not_shown():
    """Its gradient reaches its readout and wanes with the run; the loss that is shown is the task's own."""
    losses, gradients = [], []
    for weight, share in ((0.0, 0.0), (0.5, 0.0), (0.5, 0.5)):
        asked = train_config(corpus=["x"], task="tag", seed=1, symbol_dropout=0.2, lm_weight=weight, steps=1)
        model = make("lstm", {}, False, language_model=True)
        config, params = resolve_tagger(asked, 200), random_params(model.shapes, seed=1)
        written = Ragged.of([TARGET.encode(text, TARGET.size + 1) for text in ("xyzx", "zy")])
        pairs = Pairs(["abca", "cb"], ["xyzx", "zy"], inputs_of(["abca", "cb"]), written, None)
        data = PairDataset((), "", 0, "1", "2", SOURCE, TARGET, (), pairs, pairs, pairs, ())
        learner = TagLearner(model, params, data, config, torch.device("cpu"))
        loss, _, _ = learner.next_loss(3, share)
        loss.backward()
        losses.append(float(loss.detach()))
        head = learner.parameters["encoder.language_model.forward.weight"].grad
        gradients.append(0.0 if head is None else float(head.abs().sum()))
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-12)
    assert gradients == pytest.approx([0.0, gradients[1], gradients[1] / 2], rel=1e-9)
    assert gradients[1] > 1e-3


# The commands ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each a is written as the letter that comes next, in capitals, so that one must look ahead."""
    folder = tmp_path_factory.mktemp("tag")
    rng, rows = random.Random(3), []
    for _ in range(300):
        text = "".join(rng.choices("aabcé ", k=rng.randint(2, 7))) + "b"
        rows.append((text, "".join(b.upper() if a == "a" else a for a, b in itertools.pairwise(text + " "))))
    (folder / "ahead.tsv").write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    arguments = ("--task", "tag", "--learning-rate", "0.02", "--num-layers", "1", "--hidden-size", "24")
    arguments += ("--symbol-dropout", "0", "--dropout", "0.1", "--weight-dropout", "0")
    root = folder / "runs"
    for direction in ("both", "forward"):
        train(root, folder / "ahead.tsv", *arguments, "--name", direction, "--direction", direction, steps=150)
    train(root, folder / "ahead.tsv", *arguments, "--name", "edges", "--feedback", "target", steps=150)
    return folder


@pytest.mark.parametrize("run", ["both", "edges"])
def test_what_comes_later_is_seen(run, folder):
    def report(run: str) -> Any:
        return json.loads(succeed("eval", run, "--checkpoints", folder / "runs", "--json", "--quiet").stdout)

    found = report(run)["figures"]
    assert found["num_sequences"] > 10
    assert found["sequence_accuracy"] > 0.9
    assert report("forward")["figures"]["sequence_accuracy"] < found["sequence_accuracy"]
    (line,) = json_lines(succeed("predict", run, "--checkpoints", folder / "runs", "--json", stdin="abcaé\n"))
    assert line["prediction"] == "BbcÉé"
    assert 0.2 < line["probability"] <= 1.0


def test_decomposed_letters_are_one(folder):
    composed, decomposed = "caéb", "cae\u0301b"
    lines = json_lines(
        succeed("predict", "both", "--checkpoints", folder / "runs", "--json", stdin=f"{composed}\n{decomposed}\n")
    )
    assert lines[0]["prediction"] == lines[1]["prediction"] == "cÉéb"


@pytest.mark.parametrize("run", ["both", "edges"])
def test_a_prediction_s_probability_is_its_likelihood(run, folder):
    model = load(run, checkpoints=folder / "runs")
    data = model.saved
    assert isinstance(data, SavedPair)
    (found,) = model.predict(["cab"], n=3)
    outputs = [c.value for c in found.candidates]
    ids = Ragged.of([data.source.encode("cab", data.source.size)] * 3)
    written = Ragged.of([data.target.encode(output, data.target.size + 1) for output in outputs])
    pairs = Pairs(["cab"] * 3, outputs, ids, written, None)
    nll = data.model.nll(data.params, batch_of(data.model, pairs, np.arange(3)))
    for candidate, nats in zip(found.candidates, nll, strict=True):
        assert candidate.probability == pytest.approx(math.exp(-nats), rel=1e-4)


def test_a_seed_draws_the_same_outputs_however_lines_arrive(folder):
    lines = "".join(f"{'abc' * (n % 3)}a\n" for n in range(70))
    arguments = ("predict", "edges", "--checkpoints", folder / "runs", "--sample", "--seed", "4", "-n", "2")
    whole = succeed(*arguments, stdin=lines).stdout
    assert whole == succeed(*arguments, stdin=lines).stdout
    last = succeed(*arguments, stdin=lines.splitlines()[0] + "\n").stdout
    assert whole.startswith(last)


@pytest.mark.parametrize("run", ["both", "edges"])
def test_the_report_s_likelihood_is_that_of_training(run, folder):
    steps = map(json.loads, (folder / "runs" / run / "metrics.jsonl").read_text().splitlines())
    best = min(line["eval_loss"] for line in steps if line["eval_loss"] is not None)
    found = json.loads(
        succeed("eval", run, "--part", "valid", "--checkpoints", folder / "runs", "--json", "--quiet").stdout
    )
    assert found["loss"] == pytest.approx(best, rel=1e-5)
    assert found["nll"] == pytest.approx(found["loss"] * found["figures"]["num_symbols"])


def test_the_report_in_words(folder):
    shown = succeed("eval", "edges", folder / "ahead.tsv", "--checkpoints", folder / "runs", "-v").stdout
    assert "output edges" in shown
    assert "right throughout" in shown


@pytest.mark.parametrize(
    ("code", "arguments", "words"),
    [
        (3, ("train", "odd.tsv", "--task", "tag"), ("odd.tsv, line 2", "2 symbols", "3", "form C")),
        (3, ("eval", "both", "odd.tsv"), ("odd.tsv, line 2", "2 symbols")),
        (3, ("train", "ahead.tsv", "--task", "tag", "--valid", "odd.tsv"), ("odd.tsv, line 2",)),
        (2, ("train", "ahead.tsv", "--task", "tag", "--context", "3"), ("--context",)),
        (2, ("train", "ahead.tsv", "--task", "tag", "--feedback", "output"), ("true output",)),
        (2, ("train", "ahead.tsv", "--task", "classify", "--feedback", "target"), ("output_recurrent",)),
        (2, ("eval", "both", "--stop", "eos"), ("--stop",)),
        (2, ("eval", "both", "--length-penalty", "1"), ("--length-penalty",)),
        (2, ("predict", "both", "--given", "x"), ("--given",)),
        (2, ("predict", "both", "--attention"), ("no attention",)),
        (2, ("predict", "both", "--seed", "1"), ("--sample",)),
        (2, ("predict", "both", "--sample", "--temperature", "0"), ("--temperature",)),
        (4, ("sample", "both"), ("--task tag",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)  # fmt: skip
def test_bad_input_is_one_line(code, arguments, words, folder, monkeypatch):
    monkeypatch.chdir(folder)
    Path("odd.tsv").write_text("ab\tab\nab\tabc\n", encoding="utf-8")
    line = fail(code, *arguments, "--checkpoints", folder / "runs", stdin="ab\n")
    assert all(word in line for word in words), line
