"""Recursive networks: against a recursion by hand, in NumPy and torch, alone and in batches, and the commands."""

import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_cli import fail, invoke, json_lines, succeed, train
from helpers_models import as_torch, random_params

from charrnn.api import load
from charrnn.corpus.columns import Column
from charrnn.corpus.symbols import Symbols
from charrnn.models.encoder import EncoderConfig
from charrnn.models.store import Saved
from charrnn.tasks.tree.composition import COMPOSITIONS
from charrnn.tasks.tree.data import TreeReader
from charrnn.tasks.tree.predict import SavedTreeModel, label_trees, logits_of, reader_of
from charrnn.tasks.tree.recursive import RecursiveNetwork, TreeConfig, Trees, trees_of

TEXTS = ["( a ( b ab ) )", "ab", "( ( ( a b ) ( ab a ) ) ( b ( a q ) ) )", "( b a )"]
"""The third one has a leaf that no model here knows."""

WIDE = ["( a b ab )", "( a ( b b b q ) ( ab ab ) )", "a"]

each_composition = pytest.mark.parametrize("composition", COMPOSITIONS)
each_leaf = pytest.mark.parametrize("characters", [False, True], ids=["symbols", "characters"])


def make(composition: Any, *, characters: bool = False, numbers: bool = False, **settings: Any) -> SavedTreeModel:
    size = 2 if characters else 3
    encoder = None
    if characters:
        encoder = EncoderConfig(cell="gru", vocab_size=size, hidden_size=3, num_layers=1)
    config = TreeConfig(
        text_column="2",
        label=Column(name="1") if numbers else Column(name="1", values=("x", "y"), counts=(1, 1)),
        vocab_size=size,
        composition=composition,
        hidden_size=4,
        encoder=encoder,
        **settings,
    )
    model = RecursiveNetwork(config)
    symbols = Symbols(("a", "b")) if characters else Symbols(("a", "b", "ab"), " ")
    return Saved(config, model, random_params(model.shapes, seed=1, scale=1.0), "", symbols)


def trees_of_texts(saved: SavedTreeModel, texts: list[str], outputs: Any = None) -> Trees:
    reader = reader_of(saved)
    forest = reader.forest(texts, str)
    said = np.full(len(forest.leaf), np.nan)
    said[forest.ends - forest.sizes] = 0.0 if outputs is None else outputs
    words = reader.words(forest, saved.source)
    return trees_of(forest, words, np.arange(len(texts)), said, saved.source.size)


def sigmoid(x: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-x))


def nested(text: str) -> Any:
    """Lists of lists of words."""
    listed = re.sub(r"[^()\s]+", r'"\g<0>",', text).replace("(", "[").replace(")", "],")
    return json.loads(re.sub(r",\s*(\]|$)", r"\1", listed))


class Recursion:
    """The state of a nested list, by recursion and the equations of the papers, one node at a time, in float64."""

    def __init__(self, saved: SavedTreeModel) -> None:
        self.saved = saved
        self.p = {name: np.asarray(value, np.float64) for name, value in saved.params.items()}

    def leaf_input(self, word: str) -> Any:
        saved = self.saved
        if saved.model.encoder is None:
            found = saved.source.encode(word, 3)[0]
            return np.eye(3)[found] if found < 3 else np.zeros(3)
        ids = saved.source.encode(word, 2)[:, None].astype(np.int64)
        params = {name.removeprefix("encoder."): v for name, v in self.p.items() if name.startswith("encoder.")}
        return saved.model.encoder.read(params, ids, np.array([len(word)])).summary[0]

    def state(self, node: Any) -> tuple[Any, Any]:
        p, H = self.p, self.saved.config.hidden_size
        kind = self.saved.config.composition
        if isinstance(node, str):
            gates = p["leaf.weight"] @ self.leaf_input(node) + p["leaf.bias"]
            if kind == "tanh":
                return np.tanh(gates), None
            c = sigmoid(gates[:H]) * np.tanh(gates[H : 2 * H])
            return sigmoid(gates[2 * H :]) * np.tanh(c), c
        if kind == "child_sum":
            states = [self.state(child) for child in node]
            gates = p["weight"] @ sum(h for h, _ in states) + p["bias"]
            c = sigmoid(gates[:H]) * np.tanh(gates[H : 2 * H])
            for h, memory in states:
                c = c + sigmoid(p["forget.weight"] @ h + p["forget.bias"]) * memory
            return sigmoid(gates[2 * H :]) * np.tanh(c), c
        while len(node) > 2:
            node = [node[:2], *node[2:]]
        (left, c_left), (right, c_right) = map(self.state, node)
        gates = p["weight"] @ np.concatenate([left, right]) + p["bias"]
        if kind == "tanh":
            return np.tanh(gates), None
        i, f_left, f_right, u, o = np.split(gates, 5)
        c = sigmoid(i) * np.tanh(u) + sigmoid(f_left) * c_left + sigmoid(f_right) * c_right
        return sigmoid(o) * np.tanh(c), c


@each_composition
@each_leaf
def test_states_are_those_of_a_recursion_by_hand(composition, characters):
    saved = make(composition, characters=characters)
    by_hand = Recursion(saved)
    for texts in (TEXTS, WIDE, [TEXTS[0]]):
        h = saved.model.read(by_hand.p, trees_of_texts(saved, texts))[-len(texts) :]
        expected = [by_hand.state(nested(text) if "(" in text else text)[0] for text in texts]
        np.testing.assert_allclose(h, expected, atol=1e-12)


@each_composition
@each_leaf
def test_torch_and_numpy_agree_and_gradients_are_those_of_finite_differences(composition, characters):
    saved = make(composition, characters=characters)
    trees = trees_of_texts(saved, WIDE, outputs=[0, 1, 1])
    nll = saved.model.nll(saved.params, trees._replace(outputs=trees.outputs.astype(np.int64)))
    params = {name: torch.from_numpy(value.astype(np.float64)) for name, value in saved.params.items()}
    trained = {name: p.requires_grad_(name not in saved.model.frozen) for name, p in params.items()}
    tensors = Trees(
        tuple(level._replace(order=torch.from_numpy(level.order)) for level in trees.levels),
        *(torch.from_numpy(array) for array in trees[1:-1]),
        torch.from_numpy(trees.outputs.astype(np.int64)),
    )
    loss = saved.model.nll(trained, tensors)
    np.testing.assert_allclose(nll, loss.detach(), rtol=1e-5)
    loss.sum().backward()
    rng = np.random.default_rng(0)
    for name, p in trained.items():
        if not p.requires_grad:
            continue
        with torch.no_grad():
            way = torch.from_numpy(rng.normal(size=tuple(p.shape)))
            around = [saved.model.nll({**params, name: p + s * way}, tensors).sum() for s in (1e-5, -1e-5)]
        slope = float((around[0] - around[1]) / 2e-5)
        assert float((p.grad * way).sum()) == pytest.approx(slope, rel=1e-5, abs=1e-7), name


@each_composition
@each_leaf
def test_no_tree_depends_on_its_neighbours(composition, characters):
    saved = make(composition, characters=characters)
    texts = TEXTS + WIDE + TEXTS[:2]
    together = list(label_trees(saved, texts, n=2))
    alone = [next(label_trees(saved, [text], n=2)) for text in texts]
    for one, other in zip(together, alone, strict=True):
        assert one.input == other.input
        for c, d in zip(one.candidates, other.candidates, strict=True):
            assert c.value == d.value
            assert c.probability == pytest.approx(d.probability, abs=1e-6)


def test_the_order_of_children_matters_to_pairs_and_not_to_sums():
    for composition in COMPOSITIONS:
        saved = make(composition)
        h = saved.model.read(saved.params, trees_of_texts(saved, ["( a ( b ab ) )", "( ( ab b ) a )"]))[-2:]
        assert np.allclose(h[0], h[1], atol=1e-6) == (composition == "child_sum")


@each_composition
def test_an_unknown_leaf_is_a_zero_input(composition):
    saved = make(composition)
    h = saved.model.read(saved.params, trees_of_texts(saved, ["( a q )", "( a zz )"]))
    assert np.array_equal(h[-2], h[-1])
    expected = Recursion(saved).state(["a", "q"])[0]
    np.testing.assert_allclose(h[-1], expected, atol=1e-6)


@pytest.mark.parametrize(
    "composition", ["tree_lstm", *(pytest.param(c, marks=pytest.mark.slow) for c in ("tanh", "child_sum"))]
)
def test_a_tree_five_thousand_deep(composition):
    saved = make(composition)
    text = "( " * 5000 + "a b )" + " a )" * 4999
    trees = trees_of_texts(saved, [text])
    params = {name: p.requires_grad_() for name, p in as_torch(saved.params).items()}
    tensors = Trees(
        tuple(level._replace(order=torch.from_numpy(level.order)) for level in trees.levels),
        *(torch.from_numpy(array) for array in trees[1:-1]),
        torch.from_numpy(trees.outputs.astype(np.int64)),
    )
    nll = saved.model.nll(params, tensors).sum()
    nll.backward()
    assert torch.isfinite(nll)
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in params.values())


def test_every_node_has_logits_in_the_order_of_the_forest():
    saved = make("tree_lstm")
    reader = reader_of(saved)
    forest = reader.forest(TEXTS, str)
    found = logits_of(saved, forest, reader.words(forest, saved.source))
    by_hand = Recursion(saved)
    h = [by_hand.state(node)[0] for node in ("a", "b", "ab", ["b", "ab"], ["a", ["b", "ab"]])]
    o = h @ saved.params["readout.weight"].T + saved.params["readout.bias"]
    np.testing.assert_allclose(found[:5], o[[4, 0, 3, 1, 2]], atol=1e-5)


@each_composition
@pytest.mark.parametrize("numbers", [False, True], ids=["labels", "numbers"])
def test_the_prediction_for_a_node_is_that_for_the_root_of_its_own_tree(composition, numbers):
    """With labels that the model knows behind the brackets, with words there, and across batches."""
    saved = make(composition, numbers=numbers, node_labels=True)
    plain = ["( a ( b ab ) )", "ab", "( ( ( a b ) ( ab a ) ) ( b ( a q ) ) )"]
    x, y = ("1", "2.5") if numbers else ("x", "y")
    labelled = [f"({x} a ({y} b ab))", "ab", f"({x} ({y} ({y} a b) ({x} ab a)) ({y} ({x} b) ({x} a q)))"]
    inner = [
        ["( a ( b ab ) )", "a", "( b ab )", "b", "ab"],
        ["ab"],
        [plain[2], "( ( a b ) ( ab a ) )", "( a b )", "a", "b", "( ab a )", "ab", "a"],
    ]
    inner[2] += ["( b ( a q ) )", "b", "( a q )", "a", "q"]
    expected = [list(label_trees(saved, subtrees, n=2)) for subtrees in inner]
    for texts in (plain, labelled, plain * 43):
        for k, found in list(enumerate(label_trees(saved, texts, n=2)))[-3:]:
            assert found.input == texts[k]
            for node, alone in zip(found.nodes, expected[k % 3], strict=True):
                leaves = re.findall(r"[^()\s]+", alone.input)
                assert node.text == " ".join(leaves)
                assert node.end - node.first == len(leaves)
                if numbers:
                    assert node.prediction == pytest.approx(alone.prediction, abs=1e-5)
                else:
                    assert node.prediction == alone.prediction
                    assert node.probability == pytest.approx(alone.probability, abs=1e-6)
            assert found.nodes[0].prediction == found.prediction
            if k % 3 == 0:
                assert [node.depth for node in found.nodes] == [0, 1, 1, 2, 2]
                assert [node.first for node in found.nodes] == [0, 0, 1, 1, 2]


def test_the_text_of_a_deep_tree_is_short():
    saved = make("tanh", node_labels=True)
    (found,) = label_trees(saved, ["( " * 500 + "a b )" + " a )" * 499])
    assert len(found.nodes) == 1001
    assert max(len(node.text) for node in found.nodes) == 61


def test_symbols_of_leaves():
    for characters, symbols in ((False, ("a", "ab", "b")), (True, ("a", "b"))):
        reader = TreeReader(node_labels=False, pairs=True, characters=characters)
        forest = reader.forest(["( a ( ab b ) )"], str)
        assert reader.symbols(forest).symbols == symbols


# The commands -----------------------------------------------------------------------------------------------


def valued(rng: random.Random, depth: int, *, labelled: bool) -> tuple[int, str]:
    """An expression of MAX and MIN over 0 … 3, and its value."""
    if depth == 0 or rng.random() < 0.2:
        value = rng.randrange(4)
        return value, f"({value} {value})" if labelled else str(value)
    name, function = rng.choice([("MAX", max), ("MIN", min)])
    (x, left), (y, right) = (valued(rng, depth - 1, labelled=labelled) for _ in range(2))
    value = function(x, y)
    return value, f"({value} {name} {left} {right})" if labelled else f"( {name} ( {left} {right} ) )"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trees")
    rng = random.Random(1)
    plain = [valued(rng, 3, labelled=False) for _ in range(600)]
    (folder / "plain.tsv").write_text("".join(f"{value}\t{text}\n" for value, text in plain), encoding="utf-8")
    inner = [valued(rng, 2, labelled=True)[1] for _ in range(300)]
    (folder / "inner.txt").write_text("".join(f"{text}\n" for text in inner), encoding="utf-8")
    root, plain_file = folder / "runs", folder / "plain.tsv"
    fast = ("--task", "tree", "--learning-rate", "0.02", "--hidden-size", "24")
    train(root, plain_file, *fast, "--name", "plain", steps=150)
    train(root, plain_file, *fast, "--name", "number", "--label-column", "1:number", steps=20)
    inside = ("--node-labels", "--composition", "child_sum")
    train(root, folder / "inner.txt", *fast, "--name", "inner", *inside, steps=60)
    train(root, plain_file, *fast, "--name", "read", "--leaves", "characters", "--cell", "gru", steps=20)
    return folder


def report(folder: Path, *arguments: str) -> Any:
    return json.loads(succeed("eval", *arguments, "--checkpoints", folder / "runs", "--json").stdout)


def test_values_of_expressions_are_learned(folder):
    found = report(folder, "plain")
    assert found["labels"]["accuracy"] > 0.9 > found["labels"]["majority_accuracy"]
    assert sum(band["num_trees"] for band in found["by_depth"]) == found["labels"]["num_examples"]
    mean = sum(band["num_trees"] * band["accuracy"] for band in found["by_leaves"])
    assert mean / found["labels"]["num_examples"] == pytest.approx(found["labels"]["accuracy"])
    lines = json_lines(
        succeed("predict", "plain", "--checkpoints", folder / "runs", "--json", stdin="( MAX ( 1 3 ) )\n2\n")
    )
    assert [line["prediction"] for line in lines] == ["3", "2"]


def test_labels_of_all_nodes(folder):
    found = report(folder, "inner", str(folder / "inner.txt"))
    assert found["num_labelled_nodes"] > found["labels"]["num_examples"]
    assert 0.5 < found["node_accuracy"] <= 1.0
    assert "labelled" in succeed("eval", "inner", "--checkpoints", folder / "runs").stdout


def test_every_node_is_answered(folder):
    """Of trees without labels and of trees with labels, as a table, as a picture and as JSON."""
    runs = ("--checkpoints", folder / "runs")
    for stdin in ("( MAX 1 ( MIN 2 3 ) )\n3\n", "(2 MAX (1 1) (2 MIN (2 2) (3 3)))\n3\n"):
        one, other = json_lines(succeed("predict", "inner", *runs, "--json", stdin=stdin))
        assert [node["text"] for node in one["nodes"]] == ["MAX 1 MIN 2 3", "MAX", "1", "MIN 2 3", "MIN", "2", "3"]
        assert [node["prediction"] for node in one["nodes"]][2:3] == ["1"]
        assert len(other["nodes"]) == 1
        nodes = [*one["nodes"], *other["nodes"]]
        shown = succeed("predict", "inner", *runs, stdin=stdin).stdout.splitlines()
        assert shown == [
            f"{node['depth']}\t{node['prediction']}\t{node['probability']:.4f}\t{node['text']}" for node in nodes
        ]
        drawn = succeed("predict", "inner", *runs, "--indent", stdin=stdin).stdout.splitlines()
        assert len(drawn) == 8
        assert [len(line) - len(line.lstrip()) for line in drawn] == [2 * node["depth"] for node in nodes]
        assert [line.split()[2:] for line in drawn] == [[], ["MAX"], ["1"], [], ["MIN"], ["2"], ["3"], ["3"]]


def test_unknown_labels_are_wrong_and_counted(folder):
    (folder / "unseen.tsv").write_text("1\t( MAX ( 1 0 ) )\n9\t( MAX ( 1 2 ) )\n", encoding="utf-8")
    found = report(folder, "plain", str(folder / "unseen.tsv"))
    assert found["notes"] == ["1 label unknown to the model ('9'): counted as wrong, left out of the nats"]
    assert found["labels"]["num_unknown_labels"] == 1
    assert found["labels"]["accuracy"] <= 0.5
    assert found["by_depth"][0]["accuracy"] == found["labels"]["accuracy"]
    (folder / "odd.txt").write_text("(1 (1 1) (7 1))\n(7 MAX (1 1) (1 1))\n", encoding="utf-8")
    found = report(folder, "inner", str(folder / "odd.txt"))
    assert found["notes"] == ["2 labels unknown to the model ('7'): counted as wrong, left out of the nats"]
    assert found["num_labelled_nodes"] == 6
    assert found["node_accuracy"] <= 4 / 6


def test_balanced_classes_and_other_priors(folder):
    inside = ("--node-labels", "--composition", "child_sum", "--class-weights", "balanced")
    arguments = ("--task", "tree", "--hidden-size", "4", "--name", "balanced", *inside)
    train(folder / "runs", folder / "inner.txt", *arguments, steps=3)
    own = report(folder, "balanced")
    assert report(folder, "balanced", "--prior", "uniform")["labels"] == own["labels"]
    assert report(folder, "balanced", "--prior", "training")["labels"]["loss"] != own["labels"]["loss"]


def test_numbers_and_leaves_of_characters(folder):
    assert report(folder, "number")["numbers"]["num_examples"] > 10
    shown = succeed("eval", "number", "--checkpoints", folder / "runs").stdout
    assert "MEAN SQUARED ERROR" in shown
    assert report(folder, "read")["num_oov"] == 0
    model = load("read", checkpoints=folder / "runs")
    assert model.saved.config.encoder.cell == "gru"


def test_roots_without_a_label_are_left_out_and_counted(folder):
    some = folder / "some.txt"
    inner = (folder / "inner.txt").read_text(encoding="utf-8").splitlines()
    some.write_text("".join(f"{line}\n" for line in [*inner[:20], "1", "2", "3"]), encoding="utf-8")
    (folder / "whole.txt").write_text("".join(f"{line}\n" for line in inner[:20]), encoding="utf-8")
    found, whole = report(folder, "inner", str(some)), report(folder, "inner", str(folder / "whole.txt"))
    assert found["num_unlabelled_roots"] == 3
    for figure in ("labels", "node_accuracy", "num_labelled_nodes", "by_depth", "by_leaves"):
        assert found[figure] == whole[figure]
    assert "3 trees without a label" in succeed("eval", "inner", some, "--checkpoints", folder / "runs").stdout


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def test_labels_may_be_few(folder):
    """Both losses are means over labels, whose number differs from tree to tree; a part may have none at all."""
    few = folder / "few.txt"
    few.write_text("( 1 ( 2 a ) ( 1 b ) )\n" + "".join(f"a{i}\n" for i in range(60)), encoding="utf-8")
    fast = ("--task", "tree", "--node-labels", "--hidden-size", "4", "--composition", "child_sum", "--seed", "3")
    train(folder / "few-runs", few, *fast, "--name", "few", steps=3)
    assert all(row["eval_loss"] is None for row in metrics(folder / "few-runs" / "few"))
    rows = metrics(folder / "runs" / "inner")
    losses = [(row["loss"], row["eval_loss"]) for row in rows if row["eval_loss"] is not None]
    assert all(loss == pytest.approx(eval_loss, rel=0.5) for loss, eval_loss in losses)


def test_what_stands_beside_a_bad_line_is_answered(folder):
    lines = "( MAX ( 1 3 ) )\n" * 130 + "( 1\n" + "2\n"
    result = invoke("predict", "plain", "--checkpoints", folder / "runs", stdin=lines)
    assert (result.exit_code, len(result.stdout.splitlines())) == (3, 131)
    assert "line 131: input '( 1'...: 1 bracket is opened and not closed" in result.stderr


def test_the_report_in_words(folder):
    shown = succeed("eval", "plain", folder / "plain.tsv", "--checkpoints", folder / "runs", "-v").stdout
    for word in ("DEPTH", "LEAVES", "600 trees", "trees/s"):
        assert word in shown
    assert all(len(line) <= 80 for line in shown.splitlines() if "SHA-256" not in line)
    assert "bits/label" in succeed("info", "plain", "--checkpoints", folder / "runs").stdout


@pytest.mark.parametrize(
    ("code", "arguments", "words"),
    [
        (3, ("train", "bad.tsv", "--task", "tree"), ("bad.tsv, line 2", "not closed")),
        (3, ("train", "empty.tsv", "--task", "tree"), ("empty.tsv", "holds nothing")),
        (3, ("train", "same.tsv", "--task", "tree"), ("always",)),
        (3, ("eval", "plain", "bad.tsv"), ("bad.tsv, line 2", "not closed")),
        (3, ("eval", "plain", "unseen.tsv"), ("unseen.tsv, line 1", "'9' is unknown", "as all labels here are")),
        (2, ("predict", "plain", "--indent"), ("--indent", "--node-labels")),
        (3, ("eval", "inner", "bare.txt"), ("bare.txt", "nothing in it has a label")),
        (3, ("train", "bare.txt", "--task", "tree", "--node-labels"), ("bare.txt", "no bracket", "begins with a")),
        (2, ("train", "inner.txt", "--task", "tree", "--node-labels", "--label-column", "x"), ("label:number",)),
        (2, ("train", "plain.tsv", "--task", "tree", "--cell", "gru"), ("--cell gru", "--leaves characters")),
        (2, ("train", "plain.tsv", "--task", "tree", "--direction", "forward"), ("--direction forward",)),
        (2, ("train", "plain.tsv", "--task", "tree", "--forget-bias", "1"), ("--forget-bias 1", "by no cell")),
        (2, ("train", "plain.tsv", "--task", "tree", "--num-layers", "2"), ("--num-layers 2",)),
        (2, ("train", "plain.tsv", "--task", "tree", "--pooling", "max"), ("--pooling", "classify")),
        (2, ("train", "plain.tsv", "--task", "classify", "--composition", "tanh"), ("--composition", "tree")),
        (2, ("train", "plain.tsv", "--task", "tree", "--context", "3"), ("--context",)),
        (2, ("train", "plain.tsv", "--task", "tree", "--lm-weight", "1"), ("--lm-weight",)),
        (2, ("eval", "plain", "--beam", "3"), ("--beam",)),
        (2, ("eval", "plain", "--stop", "eos"), ("--stop",)),
        (2, ("predict", "plain", "--given", "x"), ("--given",)),
        (4, ("sample", "plain"), ("--task tree",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)  # fmt: skip
def test_bad_input_is_one_line(code, arguments, words, folder, monkeypatch):
    monkeypatch.chdir(folder)
    Path("bad.tsv").write_text("1\t( 1 2 )\n2\t( ( 1 2 )\n", encoding="utf-8")
    Path("empty.tsv").write_text("", encoding="utf-8")
    Path("same.tsv").write_text("1\t( 1 2 )\n1\t2\n" * 9, encoding="utf-8")
    Path("unseen.tsv").write_text("9\t( MAX ( 1 0 ) )\n9\t( MAX ( 1 2 ) )\n", encoding="utf-8")
    Path("bare.txt").write_text("good\nbad\n" * 40, encoding="utf-8")
    line = fail(code, *arguments, "--checkpoints", folder / "runs", stdin="( MIN 1 2 )\n( ( 1 2 )\n")
    assert all(word in line for word in words), line
