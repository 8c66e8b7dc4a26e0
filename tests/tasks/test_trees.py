"""Bracketed expressions: read against a recursive reader, grouped by depth, and refused with their line."""

import random
from typing import Any

import numpy as np
import pytest

from charrnn.errors import CorpusError
from charrnn.tasks.tree.trees import NONE, Forest, levels_of, parse_trees, without_labels

Node = tuple[str | None, Any]
"""A label and a word, or a label and a list of nodes."""


def where(row: int) -> str:
    return f"t.tsv, line {row + 1}"


def parse(*texts: str, **how: bool) -> Forest:
    return parse_trees(texts, where, **how)


def built(forest: Forest, row: int) -> Node:
    """A tree of a forest, from the pre-order of its nodes."""
    nodes = iter(forest.nodes(np.array([row])).tolist())
    upcoming: list[int] = list(nodes)

    def take() -> Node:
        at = upcoming.pop(0)
        label = None if forest.label[at] == NONE else forest.words[forest.label[at]]
        if forest.leaf[at] != NONE:
            return label, forest.words[forest.leaf[at]]
        children = []
        while upcoming and forest.depth[upcoming[0]] > forest.depth[at]:
            assert forest.depth[upcoming[0]] == forest.depth[at] + 1
            children.append(take())
        return label, children

    tree = take()
    assert not upcoming
    return tree


def drawn(rng: random.Random, depth: int, most: int) -> Node:
    """A random tree in which brackets around one thing occur, and labels."""
    label = rng.choice("0123")
    if depth == 0 or rng.random() < 0.3:
        return label, rng.choice(["a", "bb", "[MAX", "]", "é"])
    return label, [drawn(rng, depth - 1, most) for _ in range(rng.randint(1, most))]


def written(rng: random.Random, node: Node, *, labels: bool) -> str:
    label, inside = node
    space = rng.choice([" ", "  ", ""])
    if isinstance(inside, str):
        if labels:
            return f"({label} {inside}{space})"
        return inside
    text = " ".join(written(rng, child, labels=labels) for child in inside)
    return f"({space}{label + ' ' if labels else ''}{text}{space})"


def simplified(node: Node, *, labels: bool) -> Node:
    """What the reader should make of it: chains of one child gone, the outermost label kept."""
    label, inside = node
    if isinstance(inside, str):
        return (label if labels else None), inside
    if len(inside) == 1:
        return (label if labels else None), simplified(inside[0], labels=labels)[1]
    return (label if labels else None), [simplified(child, labels=labels) for child in inside]


def paired(node: Node) -> Node:
    label, inside = node
    if isinstance(inside, str):
        return node
    children = [paired(child) for child in inside]
    left = children[0]
    for child in children[1:-1]:
        left = (None, [left, child])
    return label, [left, children[-1]]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("labels", [False, True], ids=["plain", "labelled"])
@pytest.mark.parametrize("pairs", [False, True], ids=["any", "pairs"])
def test_expressions_are_read_as_a_recursive_reader_reads_them(seed, labels, pairs):
    rng = random.Random(seed)
    trees = [drawn(rng, rng.randint(0, 5), 4) for _ in range(20)]
    forest = parse(*(written(rng, tree, labels=labels) for tree in trees), labelled=labels, pairs=pairs)
    assert len(forest) == len(trees)
    for row, tree in enumerate(trees):
        expected = simplified(tree, labels=labels)
        assert built(forest, row) == (paired(expected) if pairs else expected)


@pytest.mark.parametrize("seed", range(4))
def test_labels_that_are_left_out_leave_the_tree(seed):
    """And what looks like a tree with labels, but for one unknown word behind a bracket, stays as it is."""
    rng = random.Random(seed)
    for _ in range(20):
        tree = drawn(rng, rng.randint(0, 5), 4)
        text = written(rng, tree, labels=True)
        whole, bare = parse(text, labelled=True), parse(without_labels(text, "0123".__contains__))
        assert built(bare, 0) == simplified(tree, labels=False)
        assert whole.depth.tolist() == bare.depth.tolist()
        assert without_labels(f"(4 {text} a)", "0123".__contains__) == f"(4 {text} a)"


@pytest.mark.parametrize("text", ["( 1 )", "( a b )", "( ( 1 a ) b )", "( 1 ( 12 ) )", "ab"])
def test_a_tree_without_labels_stays_as_it_is(text):
    assert without_labels(text, ["1", "12"].__contains__) == text


def test_some_of_the_trees():
    texts = ["( a b )", "c", "( ( a d ) ( b c ) )"]
    forest = parse(*texts)
    some = forest.take(np.array([2, 0]))
    assert [built(some, 0), built(some, 1)] == [built(forest, 2), built(forest, 0)]
    assert forest.num_leaves.tolist() == [2, 1, 4]
    assert forest.depths.tolist() == [1, 0, 2]
    assert some.depths.tolist() == [2, 1]


@pytest.mark.parametrize("seed", range(5))
def test_levels_hold_every_node_once_and_children_in_the_order_of_their_parents(seed):
    rng = random.Random(seed)
    forest = parse(*(written(rng, drawn(rng, 5, 4), labels=False) for _ in range(12)))
    rows = np.array(rng.choices(range(12), k=7))
    found = levels_of(forest, rows)
    sizes = [level.num_leaves + len(level.sizes) for level in found.levels]
    assert sum(sizes) == len(found.nodes) == forest.sizes[rows].sum()
    assert sizes[-1] == 7
    roots = found.nodes[-7:]
    assert roots.tolist() == (forest.ends - forest.sizes)[rows].tolist()
    # Every node's text, put together level by level, is that of the tree.
    texts: list[str] = []
    leaves = iter(found.leaves.tolist())
    for level in found.levels:
        own = [forest.words[next(leaves)] for _ in range(level.num_leaves)]
        below = iter(texts)
        inner = ["(" + " ".join(next(below) for _ in range(size)) + ")" for size in level.sizes]
        assert next(below, None) is None
        texts = [(own + inner)[place] for place in level.order]

    def text(node: Node) -> str:
        inside = node[1]
        return inside if isinstance(inside, str) else "(" + " ".join(map(text, inside)) + ")"

    assert texts == [text(built(forest, row)) for row in rows]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("( a ( b )", "1 bracket is opened and not closed"),
        ("( ( ( a", "3 brackets are opened and not closed"),
        ("a ) (", "closed that was not opened"),
        ("( a ) ) (", "closed that was not opened"),
        ("", "holds no expression"),
        (" \t ", "holds no expression"),
        ("()", "around nothing"),
        ("( a ( ) )", "around nothing"),
        ("a b", "2 expressions, one was expected"),
        ("( a b ) c", "2 expressions, one was expected"),
    ],
)
def test_what_is_no_expression_is_refused_with_its_line(text, words):
    with pytest.raises(CorpusError) as error:
        parse("( a b )", text, "( c )")
    assert str(error.value).startswith("t.tsv, line 2: ")
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"), [("((2 a) b)", "no label"), ("(2)", "around nothing"), ("(2 (3) a)", "around nothing")]
)
def test_labels_that_are_missing(text, words):
    with pytest.raises(CorpusError, match=words):
        parse(text, labelled=True)


def test_brackets_as_deep_as_there_are():
    depth = 5000
    deep = "( " * depth + "a b )" + " c )" * (depth - 1)
    forest = parse(deep, "( " * depth + "a" + " )" * depth)
    assert forest.depths.tolist() == [depth, 0]
    assert forest.num_leaves.tolist() == [depth + 1, 1]
    assert len(levels_of(forest, np.array([0])).levels) == depth + 1
    with pytest.raises(CorpusError, match="line 1: 10,001 leaves; at most 10,000"):
        parse("( " + "a " * 10_001 + ")", pairs=True)
