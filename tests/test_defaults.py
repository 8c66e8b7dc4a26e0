"""What is chosen where a person has not: every choice is made, and nothing that was asked for is touched."""

import os
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from charrnn.config import ResolvedConfig, TrainConfig
from charrnn.corpus.dataset import load_dataset
from charrnn.errors import UsageError
from charrnn.tasks.defaults import MEMORY_SPAN, SMALL_CORPUS, available_cores, resolve

CHOSEN = (
    "hidden_size",
    "num_layers",
    "output_depth",
    "dropout",
    "weight_dropout",
    "batch_size",
    "bptt_steps",
    "learning_rate",
    "threads",
)
ASKED: dict[str, Any] = {
    "hidden_size": 7,
    "num_layers": 4,
    "output_depth": 3,
    "dropout": 0.0,
    "weight_dropout": 0.0,
    "batch_size": 3,
    "bptt_steps": 5,
    "learning_rate": 0.125,
    "threads": 1,
}


class Text(SimpleNamespace):
    def __len__(self) -> int:
        return int(self.num_sequences)


def dataset_of(order: str = "independent", num_chars: int = 1000, num_sequences: int = 100) -> Any:
    train = Text(num_chars=num_chars, num_sequences=num_sequences)
    return SimpleNamespace(order=order, split="line", parts=SimpleNamespace(train=train))


def config_of(**values: Any) -> TrainConfig:
    return TrainConfig(corpus=("names.txt",), seed=1, **values)


@pytest.mark.parametrize("order", ["independent", "ordered"])
@pytest.mark.parametrize("num_chars", [1, SMALL_CORPUS - 1, SMALL_CORPUS, 10**9])
def test_every_choice_is_made(order, num_chars):
    found = resolve(config_of(), dataset_of(order, num_chars))
    assert isinstance(found, ResolvedConfig)
    assert all(getattr(found, name) is not None for name in CHOSEN)
    assert (found.split, found.order) == ("line", order)
    assert [found.minutes, found.epochs, found.steps].count(None) == 2
    assert 1 <= found.threads <= available_cores()


@pytest.mark.parametrize("order", ["independent", "ordered"])
def test_what_was_asked_for_stays(order):
    found = resolve(config_of(**ASKED), dataset_of(order))
    assert {name: getattr(found, name) for name in ASKED} == ASKED


@pytest.mark.parametrize("name", CHOSEN)
def test_one_choice_leaves_the_others_alone(name):
    free = vars(resolve(config_of(), dataset_of()))
    assert free[name] != ASKED[name] or name == "threads"
    expected = {**free, name: ASKED[name]}
    assert vars(resolve(config_of(**{name: ASKED[name]}), dataset_of())) == expected


def test_a_washout_longer_than_a_window_is_refused():
    assert resolve(config_of(washout=64), dataset_of()).washout == 64
    for config in (config_of(washout=65), config_of(washout=5, bptt_steps=4)):
        with pytest.raises(UsageError, match="--bptt-steps"):
            resolve(config, dataset_of())


@pytest.mark.parametrize("budget", [{"minutes": 0.5}, {"epochs": 2.0}, {"steps": 9}])
def test_a_budget_is_not_joined_by_another(budget):
    found = resolve(config_of(**budget), dataset_of())
    assert {
        name: getattr(found, name) for name in ("minutes", "epochs", "steps") if getattr(found, name)
    } == budget


def test_all_else_is_the_configuration(tmp_path: Path):
    path = tmp_path / "names.txt"
    path.write_text("".join(f"{a}{b}\n" for a in "abcdefgh" for b in "aeiou"), encoding="utf-8")
    asked = TrainConfig(corpus=(str(path),), seed=3, cell="gru", stop=("halt", "length"), grad_clip=0.5, keep=4)
    dataset = load_dataset(asked, tmp_path / "checkpoints")
    found = resolve(asked, dataset)
    assert (found.split, found.order) == (dataset.split, dataset.order)
    for field in fields(TrainConfig):
        value = getattr(asked, field.name)
        if value is not None and value != "auto":
            assert getattr(found, field.name) == value


def test_first_memories_are_long_for_lists_and_the_cell_that_has_them():
    assert resolve(config_of(), dataset_of()).memory_span == MEMORY_SPAN
    assert resolve(config_of(memory_span=9), dataset_of()).memory_span == 9
    assert resolve(config_of(), dataset_of("ordered")).memory_span is None
    assert resolve(config_of(forget_bias=2.0), dataset_of()).memory_span is None
    assert resolve(config_of(cell="gru"), dataset_of()).memory_span is None


def test_short_sequences_are_read_by_more_lanes():
    lanes = [resolve(config_of(), dataset_of(num_chars=1000, num_sequences=n)).batch_size for n in (100, 30, 3, 0)]
    assert lanes == [64, 32, 16, 16]


def test_a_large_corpus_has_a_larger_model_in_both_orders():
    for order in ("independent", "ordered"):
        sizes = [resolve(config_of(), dataset_of(order, n)).hidden_size for n in (10**3, 10**5, 10**6)]
        assert sizes == sorted(set(sizes))


def test_a_small_corpus_has_a_smaller_model_and_less_time():
    small = resolve(config_of(), dataset_of(num_chars=SMALL_CORPUS - 1))
    usual = resolve(config_of(), dataset_of(num_chars=SMALL_CORPUS))
    assert small.hidden_size < usual.hidden_size
    assert small.minutes is not None
    assert usual.minutes is not None
    assert small.minutes < usual.minutes


def test_cores_are_those_of_the_process(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 3, 4}, raising=False)
    assert available_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1
