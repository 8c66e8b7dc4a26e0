"""ListOps expressions: their values by another evaluator, and their brackets."""

import json
import statistics

import numpy as np
import pytest
from helpers_cli import fail, succeed

from charrnn.study.listops import OPERATORS, ListOps, rows
from charrnn.tasks.tree.trees import parse_trees


def value_of(symbols: list[str]) -> int:
    """With a stack, and functions of the standard library."""
    functions = {
        "[MAX": max,
        "[MIN": min,
        "[MED": lambda v: int(statistics.median(v)),
        "[SM": lambda v: int(str(sum(v))[-1]),
        "[FIRST": lambda v: v[0],
        "[LAST": lambda v: v[-1],
    }
    stack: list[list[object]] = [[]]
    for symbol in symbols:
        if symbol in functions:
            stack.append([functions[symbol]])
        elif symbol == "]":
            function, *values = stack.pop()
            stack[-1].append(function(values))  # type: ignore[operator]
        else:
            stack[-1].append(int(symbol))
    ((value,),) = stack
    assert isinstance(value, int)
    return value


def symbols_of(text: str) -> list[str]:
    return [word for word in text.split() if word not in "()"]


@pytest.mark.parametrize("brackets", ["pairs", "lists", "random"])
def test_values_are_those_of_another_evaluator(brackets):
    found = list(rows(ListOps(), 200, 3, brackets=brackets))
    assert len({text for _, text in found}) == 200
    for value, text in found:
        assert value_of(symbols_of(text)) == value
    used = {word[1:] for _, text in found for word in symbols_of(text) if word.startswith("[")}
    assert used == set(OPERATORS)


def test_brackets_of_pairs_hold_two_things_and_are_those_of_the_lists():
    pairs = [text for _, text in rows(ListOps(), 100, 1)]
    lists = [text for _, text in rows(ListOps(), 100, 1, brackets="lists")]
    one, other = parse_trees(pairs, str), parse_trees(lists, str, pairs=True)
    for name in ("leaf", "depth", "ends"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    assert one.words == other.words


def test_random_brackets_are_other_pairs_over_the_same_symbols():
    right = list(rows(ListOps(), 50, 1))
    wrong = list(rows(ListOps(), 50, 1, brackets="random"))
    forest = parse_trees([text for _, text in wrong], str)
    assert np.array_equal(forest.sizes, 2 * forest.num_leaves - 1)
    for (value, text), (other_value, other) in zip(right, wrong, strict=True):
        assert (value, symbols_of(text)) == (other_value, symbols_of(other))
    assert sum(text == other for (_, text), (_, other) in zip(right, wrong, strict=True)) < 10


@pytest.mark.parametrize("brackets", ["pairs", "random"])
def test_an_excluded_expression_is_found_in_any_brackets(brackets):
    first = [text for _, text in rows(ListOps(), 50, 1, brackets="lists")]
    second = [text for _, text in rows(ListOps(), 50, 1, brackets=brackets, exclude=first)]
    assert not {" ".join(symbols_of(text)) for text in first} & {" ".join(symbols_of(text)) for text in second}


def test_sizes_are_kept_to():
    source = ListOps(max_depth=3, max_args=2, nesting=0.9)
    drawn = [source.draw(np.random.default_rng(seed)) for seed in range(200)]
    assert max(expression.depth for expression in drawn) == 3
    assert all(text.count("[") <= 7 for _, text in rows(source, 50, 1))
    lengths = [len(symbols_of(text)) for _, text in rows(ListOps(), 20, 1, min_symbols=30, max_symbols=60)]
    assert 30 <= min(lengths) <= max(lengths) <= 60


def test_expressions_that_would_not_end_are_given_up():
    """At 3 arguments a list, two thirds of them lists, most draws would go on to the greatest depth."""
    source = ListOps(max_depth=100, max_args=4, nesting=0.6)
    found = list(rows(source, 20, 1, max_symbols=50))
    assert len(found) == 20
    assert max(len(symbols_of(text)) for _, text in found) <= 50
    assert source.draw(np.random.default_rng(0), 3) is None


def test_the_command(tmp_path):
    first = succeed("study", "listops", "-n", "50", "--seed", "2", "--quiet").stdout
    assert first == succeed("study", "listops", "-n", "50", "--seed", "2", "--quiet").stdout
    (tmp_path / "first.tsv").write_text(first, encoding="utf-8")
    second = succeed(
        "study", "listops", "-n", "50", "--seed", "2", "--exclude", tmp_path / "first.tsv", "--json", "--quiet"
    ).stdout
    expressions = {json.loads(line)["expression"] for line in second.splitlines()}
    assert len(expressions) == 50
    assert not expressions & {line.split("\t")[1] for line in first.splitlines()}


def test_bad_input_is_one_line(tmp_path):
    assert "'SUM'" in fail(2, "study", "listops", "--operators", "MAX,SUM")
    assert "--min-symbols 30" in fail(2, "study", "listops", "--min-symbols", "30", "--max-symbols", "20")
    assert "no.tsv" in fail(3, "study", "listops", "--exclude", tmp_path / "no.tsv")
