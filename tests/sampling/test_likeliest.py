"""The likeliest texts against the probabilities of all texts, however they end."""

import math

import numpy as np
import pytest
from helpers_cli import fail, invoke, json_lines, succeed, train, write_names
from helpers_models import all_texts, alphabet_of, each_stop, make_model, random_params, text_nll

import charrnn
from charrnn.config import StopName
from charrnn.errors import FewerTextsError, UsageError
from charrnn.sampling.likeliest import Likely, likeliest
from charrnn.sampling.stepper import Stepper

LETTERS = alphabet_of(2)
LONGEST = 7


class Case:
    """A model of random weights, the probabilities of all its short texts, and what the search finds."""

    def __init__(self, stops: tuple[StopName, ...], stop: StopName, seed: int, longest: int = LONGEST) -> None:
        self.stop, self.longest = stop, longest
        self.model = make_model("lstm", stops=stops, vocab_size=2, length_scale=4.0)
        self.params = random_params(self.model.shapes, seed)
        texts = all_texts(2, longest)
        log_p = -text_nll(self.model, self.params, texts, stop)
        self.ranked = [(texts[i], log_p[i]) for i in np.argsort(-log_p)]

    def find(self, n: int, prompt: str = "", **settings: int) -> tuple[list[Likely], str]:
        """What is found, and the message of the error at the end, if any."""
        found: list[Likely] = []
        symbols = LETTERS.encode(prompt).astype(np.int64)
        ending = self.model.endings[self.stop]
        search = likeliest(
            Stepper(self.model, self.params), ending, n, prompt=symbols, max_chars=self.longest, **settings
        )
        try:
            for one in search:
                found.append(one)
        except FewerTextsError as error:
            return found, str(error)
        return found, ""


def same(found: list[Likely], ranked: list[tuple[str, float]]) -> None:
    assert [LETTERS.decode(one.symbols) for one in found] == [text for text, _ in ranked]
    assert [one.log_prob for one in found] == pytest.approx([log_p for _, log_p in ranked], abs=1e-9)


@each_stop
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("prompt", ["", "ba"])
def test_they_are_the_likeliest_of_all_texts(stops, stop, seed, prompt):
    case = Case(stops, stop, seed)
    ranked = [(text, log_p) for text, log_p in case.ranked if text.startswith(prompt)]
    for n in (1, 20):
        found, message = case.find(n, prompt)
        same(found, ranked[:n])
        assert not message


@each_stop
def test_all_texts_are_found_once_and_then_no_more(stops, stop):
    case = Case(stops, stop, seed=4, longest=5)
    found, message = case.find(100)
    same(found, case.ranked)
    assert message == "only 63 of 100 texts found: there are no more of at most 5 characters"


@each_stop
def test_what_is_found_in_little_memory_is_certain(stops, stop):
    case = Case(stops, stop, seed=5, longest=9)
    numbers = set()
    for memory in (3_000, 30_000, 100_000):
        found, message = case.find(500, memory=memory)
        same(found, case.ranked[: len(found)])
        assert "the search has filled its memory" in message
        most = float(message.partition("ln p of at most ")[2].partition(";")[0])
        assert case.ranked[len(found)][1] <= most + 0.005
        numbers.add(len(found))
    assert max(numbers) > 1
    assert len(numbers) > 1


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    train(folder / "checkpoints", write_names(folder), "--stop", "all", steps=20)
    return folder / "checkpoints"


@pytest.mark.parametrize("stop", ["eos", "halt", "length"])
def test_the_command_prints_them_with_what_score_says(root, stop):
    flags = ("--stop", stop, "--checkpoints", root)
    lines = succeed("sample", "--likeliest", "-n", "8", "--prompt", "b", *flags, "--json").stdout
    scored = json_lines(succeed("score", "--jsonl", "--json", *flags, stdin=lines))
    asked = json_lines(succeed("sample", "--likeliest", "-n", "8", "--prompt", "b", *flags, "--json"))
    assert [one["logprob"] for one in asked] == [pytest.approx(-score["nll"], rel=1e-5) for score in scored]
    assert all((one["finish_reason"], one["seed"], one["prompt"]) == (stop, None, "b") for one in asked)
    plain = succeed("sample", "--likeliest", "-n", "8", "--prompt", "b", *flags).stdout.splitlines()
    assert plain == [f"{math.exp(one['logprob']):.4g}\t{one['text']}" for one in asked]


@pytest.mark.parametrize(
    "flags",
    [("--temperature", "1"), ("--top-k", "3"), ("--seed", "1"), ("--num-chars", "3"), ("--novel",), ("--unique",)],
)
def test_options_of_draws_are_refused(root, flags):
    line = fail(2, "sample", "--likeliest", *flags, "--checkpoints", root)
    assert f"leave {flags[0]} out" in line


def test_fewer_than_asked_for(root):
    result = invoke("sample", "--likeliest", "-n", "100", "--max-chars", "1", "--json", "--checkpoints", root)
    assert result.exit_code == 9
    symbols = charrnn.load(checkpoints=root).saved.vocabulary.symbols
    assert sorted(one["text"] for one in json_lines(result)) == ["", *symbols]
    assert f"only {len(symbols) + 1} of 100 texts found" in result.stderr


def test_a_model_without_an_end_has_no_likeliest_text(tmp_path):
    train(tmp_path / "runs", write_names(tmp_path), "--stop", "none")
    with pytest.raises(UsageError, match="--stop none"):
        next(charrnn.load(checkpoints=tmp_path / "runs").likeliest())
