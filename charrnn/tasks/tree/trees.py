"""Bracketed expressions as trees: `( ( [MAX 2 ) ( 3 4 ) )`, or with labels after brackets, `(3 (2 It) (4 is))`.

This file knows how trees are written and how their nodes are grouped by depth, not what they mean. There is no
recursion and no Python call per node: every step below works on all brackets of all trees at once.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from charrnn.errors import CorpusError

IntArray = NDArray[np.int64]

MOST_LEAVES = 10_000
"""Limit for one tree, since all its nodes are kept for the gradient."""

ROWS = 500
"""Rows parsed at once: this many fit the processor's cache, so a file is read two to three times faster."""

NONE = -1
OPEN, CLOSE = 0, 1
_TOKEN = re.compile(r"[()]|[^()\s]+")
_LABEL = re.compile(r"\(\s*+([^()\s]++)(?!\s*\))")
"""A bracket and the word behind it, if more is in the bracket."""


@dataclass(frozen=True, eq=False)
class Forest:
    """R trees, one after another, with their nodes in pre-order: each before its children."""

    words: tuple[str, ...]
    """Distinct words, of leaves and of labels."""
    leaf: IntArray
    """(N,) the index of a leaf's word, NONE for a node with children."""
    depth: IntArray
    """(N,) 0 for a root."""
    label: IntArray
    """(N,) the index of the word that is a node's label, NONE without a label."""
    ends: IntArray
    """(R,)"""

    def __len__(self) -> int:
        return len(self.ends)

    @cached_property
    def sizes(self) -> IntArray:
        """(R,) nodes."""
        return np.diff(self.ends, prepend=0)

    @cached_property
    def num_leaves(self) -> IntArray:
        """(R,)"""
        return _sums(self.leaf != NONE, self.sizes)

    @cached_property
    def depths(self) -> IntArray:
        """(R,) the depth of each tree's deepest node."""
        return np.maximum.reduceat(self.depth, self.ends - self.sizes) if len(self) else self.ends

    @cached_property
    def subtree_ends(self) -> IntArray:
        """(N,) the index of the first node after each node's subtree."""
        return _subtree_ends(self.depth)

    def take(self, rows: NDArray[np.integer]) -> "Forest":
        """Some of the trees."""
        at = self.nodes(rows)
        return Forest(self.words, self.leaf[at], self.depth[at], self.label[at], np.cumsum(self.sizes[rows]))

    def nodes(self, rows: NDArray[np.integer]) -> IntArray:
        """The indices of the nodes of some trees, one tree after another."""
        sizes = self.sizes[rows]
        begins = np.cumsum(sizes) - sizes
        return np.repeat(self.ends[rows] - sizes - begins, sizes) + np.arange(sizes.sum())


class Level(NamedTuple):
    """All nodes of one depth, in the order of their parents."""

    num_leaves: int
    sizes: IntArray
    """(n,) the number of children of each node that has any; siblings are adjacent in the level below."""
    order: Any
    """(m,) the index of each node of the level among its leaves followed by its other nodes; NumPy's integers, or
    torch's in training."""


class Levels(NamedTuple):
    """Nodes of some trees by depth, the deepest first; the last level has the roots, in the trees' order."""

    levels: tuple[Level, ...]
    nodes: IntArray
    """(N,) each node's index in the forest, level after level."""
    leaves: IntArray
    """(L,) the words of the leaves, level after level."""


def levels_of(forest: Forest, rows: NDArray[np.integer]) -> Levels:
    """Groups at least one of the trees by depth, to be read from the leaves to the roots."""
    at = forest.nodes(rows)
    depth = forest.depth[at]
    order = np.argsort(depth, kind="stable")
    leaf = forest.leaf[at][order]
    ends = np.cumsum(np.bincount(depth))
    parent = _parents(depth, order)
    children = np.bincount(parent[parent != NONE], minlength=len(at))[order]
    levels, nodes, leaves = [], [], []
    for first, end in zip([*ends[-2::-1].tolist(), 0], ends[::-1].tolist(), strict=True):
        is_leaf = leaf[first:end] != NONE
        count = int(np.count_nonzero(is_leaf))
        place = np.where(is_leaf, np.cumsum(is_leaf) - 1, count + np.cumsum(~is_leaf) - 1)
        levels.append(Level(count, children[first:end][~is_leaf], place))
        nodes.append(at[order[first:end]])
        leaves.append(leaf[first:end][is_leaf])
    return Levels(tuple(levels), np.concatenate(nodes), np.concatenate(leaves))


def parse_trees(
    texts: Sequence[str], where: Callable[[int], str], *, labelled: bool = False, pairs: bool = False
) -> Forest:
    """The trees of R expressions. Brackets around one item change only its label.

    labelled: the first word in each bracket is the label of its node, and a leaf has brackets of its own if it has
    a label. pairs: brackets of more than two items are read as pairs from the left, (a b c) as ((a b) c).
    Raises CorpusError, located by `where` of a row, for an invalid expression.
    """
    numbers = _Numbers({"(": OPEN, ")": CLOSE})
    parts = []
    for first in range(0, len(texts), ROWS):
        some = texts[first : first + ROWS]
        nodes = _nodes(some, numbers, partial(_from, where, first), labelled=labelled)
        nodes = nodes.paired() if pairs else nodes
        parts.append((nodes.leaf, nodes.depth, nodes.label, np.bincount(nodes.row, minlength=len(some))))
    if not parts:
        nothing = np.zeros(0, np.int64)
        return Forest((), nothing, nothing, nothing, nothing)
    leaf, depth, label, counts = map(np.concatenate, zip(*parts, strict=True))
    forest = Forest(tuple(numbers)[2:], leaf, depth, label, np.cumsum(counts))
    if (large := np.flatnonzero(forest.num_leaves > MOST_LEAVES)).size:
        row = int(large[0])
        raise CorpusError(f"{where(row)}: {forest.num_leaves[row]:,} leaves; at most {MOST_LEAVES:,} can be read")
    return forest


def without_labels(text: str, is_label: Callable[[str], bool]) -> str:
    """The expression without its labels, if each of its brackets begins with one; else as it is."""
    heads = _LABEL.findall(text)
    labelled = len(heads) == text.count("(") and all(map(is_label, heads))
    return _LABEL.sub("(", text) if labelled else text


def _nodes(texts: Sequence[str], numbers: "_Numbers", where: Callable[[int], str], *, labelled: bool) -> "_Nodes":
    found = [np.fromiter(map(numbers.__getitem__, _TOKEN.findall(text)), np.int64) for text in texts]
    tokens = np.concatenate(found)
    rows = np.repeat(np.arange(len(found)), [len(row) for row in found])
    _check_brackets(tokens, rows, len(texts), where)
    is_label = np.zeros(len(tokens), bool)
    if labelled:
        is_label[1:] = (tokens[:-1] == OPEN) & (tokens[1:] > CLOSE)
        bare = (tokens == OPEN) & ~np.append(is_label[1:], False)
        _refuse(rows, bare, "a bracket has no label behind it", where)
    empty = np.append((tokens[:-1] == OPEN) | is_label[:-1], False) & np.append(tokens[1:] == CLOSE, False)
    _refuse(rows, empty, "there are brackets around nothing", where)
    is_node = (tokens != CLOSE) & ~is_label
    depth = np.cumsum((tokens == OPEN).astype(np.int64) - (tokens == CLOSE)) - (tokens == OPEN)
    roots = np.bincount(rows[is_node & (depth == 0)], minlength=len(texts))
    if (several := np.flatnonzero(roots != 1)).size:
        row = int(several[0])
        raise CorpusError(
            f"{where(row)}: {roots[row]} expressions, one was expected; put brackets around what belongs together"
        )
    label = np.full(len(tokens), NONE)
    label[:-1][is_label[1:]] = tokens[1:][is_label[1:]] - 2
    node = np.flatnonzero(is_node)
    leaf = np.where(tokens[node] == OPEN, NONE, tokens[node] - 2)
    return _Nodes(leaf, depth[node], label[node], rows[node]).without_chains()


def _from(where: Callable[[int], str], first: int, row: int) -> str:
    return where(first + row)


class _Numbers(dict[str, int]):
    """Numbers words in the order of their first occurrence."""

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number


class _Nodes(NamedTuple):
    """Nodes in pre-order, with the fields of a forest and the row of each node, all (N,)."""

    leaf: IntArray
    depth: IntArray
    label: IntArray
    row: IntArray

    def without_chains(self) -> "_Nodes":
        """Removes nodes with one child; the child takes the outermost label in its chain."""
        single = _child_counts(self) == 1
        if not single.any():
            return self
        # A node with one child directly precedes it: a chain is a run of such nodes and the node that ends it.
        begins = np.append(True, ~single[:-1])
        chain = np.cumsum(begins) - 1
        labelled = np.flatnonzero(self.label != NONE)
        label = np.full(int(chain[-1]) + 1, NONE)
        label[chain[labelled][::-1]] = self.label[labelled][::-1]
        depth = self.depth - _within(self, single.astype(np.int64))
        return _Nodes(self.leaf[~single], depth[~single], label, self.row[~single])

    def paired(self) -> "_Nodes":
        """Replaces every node of k > 2 children by k − 1 nodes of two."""
        kids = _child_counts(self)
        wide = kids > 2
        if not wide.any():
            return self
        order = np.argsort(self.depth, kind="stable")
        parent = _parents(self.depth, order)
        rank = _ranks(parent, order)
        over = np.where(parent == NONE, 0, kids[parent])
        sinks = np.where(over > 2, over - 1 - np.maximum(rank, 1), 0)
        depth = self.depth + _within(self, sinks) + sinks
        # The k − 2 new nodes that contain the first of k children precede it.
        new = np.where((over > 2) & (rank == 0), over - 2, 0)
        at = np.repeat(np.arange(len(depth)), new + 1)
        before = np.repeat(np.cumsum(new + 1), new + 1) - 1 - np.arange(len(at))
        is_new = before > 0
        return _Nodes(
            np.where(is_new, NONE, self.leaf[at]),
            depth[at] - before,
            np.where(is_new, NONE, self.label[at]),
            self.row[at],
        )


def _parents(depth: IntArray, order: IntArray) -> IntArray:
    """(N,) the index of each node's parent, NONE for a root; nodes are in pre-order, `order` sorts by depth."""
    N = len(depth)
    place = np.arange(N)
    keys = depth[order] * N + order
    before = np.searchsorted(keys, (depth - 1) * N + place) - 1
    return np.where(depth == 0, NONE, order[before])


def _child_counts(nodes: _Nodes) -> IntArray:
    parent = _parents(nodes.depth, np.argsort(nodes.depth, kind="stable"))
    return np.bincount(parent[parent != NONE], minlength=len(parent))


def _ranks(parent: IntArray, order: IntArray) -> IntArray:
    """(N,) the number of siblings before each node."""
    sorted_parent = parent[order]
    begins = np.flatnonzero(np.append(True, sorted_parent[1:] != sorted_parent[:-1]))
    result = np.empty_like(parent)
    result[order] = np.arange(len(order)) - np.repeat(begins, np.diff(np.append(begins, len(order))))
    return result


def _within(nodes: _Nodes, weight: IntArray) -> IntArray:
    """(N,) the sum of the weights of each node's ancestors."""
    N, depth = len(weight), nodes.depth
    weighty = np.flatnonzero(weight)
    # A node's subtree ends before the next node that is not deeper.
    ends = _subtree_ends(depth)[weighty]
    change = np.zeros(N + 1, np.int64)
    np.add.at(change, weighty + 1, weight[weighty])
    np.add.at(change, np.maximum(ends, weighty + 1), -weight[weighty])
    return np.cumsum(change)[:N]


def _subtree_ends(depth: IntArray) -> IntArray:
    """(N,) the index of the first node after each node's subtree, for nodes in pre-order."""
    N = len(depth)
    order = np.argsort(depth, kind="stable")
    keys = depth[order] * N + order
    # After a subtree comes a sibling, or what follows the parent's subtree: level by level, from the roots down.
    ends = np.full(N, N)
    after = np.searchsorted(keys, depth * N + np.arange(N), side="right")
    same = (after < N) & (depth[order[np.minimum(after, N - 1)]] == depth)
    sibling = np.where(same, order[np.minimum(after, N - 1)], N)
    parent = _parents(depth, order)
    levels = np.cumsum(np.bincount(depth)).tolist()
    for first, end in zip([0, *levels[:-1]], levels, strict=True):
        at = order[first:end]
        above = np.where(parent[at] == NONE, N, ends[parent[at]])
        ends[at] = np.minimum(sibling[at], above)
    return ends


def _check_brackets(tokens: IntArray, rows: IntArray, num_rows: int, where: Callable[[int], str]) -> None:
    """Raises CorpusError for the first row that is empty or whose brackets do not match."""
    step = (tokens == OPEN).astype(np.int64) - (tokens == CLOSE)
    counts = np.bincount(rows, minlength=num_rows)
    total = np.bincount(rows, step, minlength=num_rows).astype(np.int64)
    inside = np.cumsum(step) - np.repeat(np.cumsum(total) - total, counts)
    early = np.bincount(rows, inside < 0, minlength=num_rows) > 0
    for row in np.flatnonzero((counts == 0) | early | (total != 0))[:1].tolist():
        if not counts[row]:
            raise CorpusError(f"{where(row)}: holds no expression")
        if early[row]:
            raise CorpusError(f"{where(row)}: a bracket is closed that was not opened")
        what = "1 bracket is" if total[row] == 1 else f"{total[row]:,} brackets are"
        raise CorpusError(f"{where(row)}: {what} opened and not closed")


def _refuse(rows: IntArray, bad: NDArray[np.bool_], what: str, where: Callable[[int], str]) -> None:
    if bad.any():
        raise CorpusError(f"{where(int(rows[bad][0]))}: {what}")


def _sums(values: NDArray[np.bool_], sizes: IntArray) -> IntArray:
    """(R,) sums over consecutive parts of `sizes` values each."""
    total = np.append(0, np.cumsum(values))
    ends = np.cumsum(sizes)
    result: IntArray = total[ends] - total[ends - sizes]
    return result
