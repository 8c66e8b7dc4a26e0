"""How fast charrnn draws and trains, each time beside another way to do the same work in the same run.

    pytest tests/benchmarks --benchmark-only

Absolute figures belong to a machine and its load; what tells is the ratio within a group. One thread.
"""

from collections.abc import Callable, Iterator
from copy import copy
from typing import Any

import numpy as np
import pytest
import torch
from helpers_models import each_cell
from torch import nn

from charrnn.cells import build_cell
from charrnn.cells.arrays import log_softmax
from charrnn.cells.cell import Cell
from charrnn.cells.unroll import unroll
from charrnn.corpus.batching import batch_source
from charrnn.corpus.sequences import Sequences
from charrnn.corpus.steps import StepReader
from charrnn.corpus.vocabulary import Vocabulary
from charrnn.models.language_model import LanguageModel
from charrnn.models.store import ModelConfig
from charrnn.sampling.ancestral import Drawn, Request, Sampler
from charrnn.sampling.filters import Filters, draw
from charrnn.sampling.randomness import RowStreams
from charrnn.sampling.stepper import Stepper
from charrnn.tasks.generate.learner import GenerateLearner
from charrnn.training.loop import Loop, Progress
from charrnn.training.observer import SilentObserver
from charrnn.training.schedule import Schedule

Parameters = dict[str, Any]

ALPHABET = Vocabulary(tuple(sorted("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ !,.:;?'-&$3\n")))
CHARS = 300
SAMPLES = 1000
BATCH, WINDOW, STEPS = 32, 64, 10


def lstm(num_layers: int, hidden_size: int, mean_length: float) -> tuple[LanguageModel, Parameters]:
    """A fresh model whose texts are about as long as those of a corpus would be."""
    config = ModelConfig(
        cell="lstm",
        vocab_size=ALPHABET.size,
        hidden_size=hidden_size,
        num_layers=num_layers,
        stop=("eos",),
        length_scale=mean_length,
        split="line",
        order="independent",
        training_chars=10**6,
    )
    model = LanguageModel(config)
    return model, model.init(np.random.default_rng(0), np.array([mean_length], np.int64))


def modules(model: LanguageModel, params: Parameters) -> tuple[nn.LSTM, nn.Linear]:
    """The same model as torch's own modules."""
    config = model.config
    recurrent = nn.LSTM(model.input_size, config.hidden_size, config.num_layers)
    readout = nn.Linear(config.hidden_size, model.num_logits)
    with torch.no_grad():
        for layer in range(config.num_layers):
            for ours, theirs in (("weight_ih", "weight_ih"), ("weight_hh", "weight_hh"), ("bias", "bias_ih")):
                weight = torch.from_numpy(params[f"layers.{layer}.{ours}"])
                getattr(recurrent, f"{theirs}_l{layer}").copy_(weight)
            getattr(recurrent, f"bias_hh_l{layer}").zero_()
        readout.weight.copy_(torch.from_numpy(params["readout.weight"]))
        readout.bias.copy_(torch.from_numpy(params["readout.bias"]))
    return recurrent, readout


# One stream ------------------------------------------------------------------------------------------------


def stream_by_charrnn(model: LanguageModel, params: Parameters) -> Callable[[], list[int]]:
    sampler = Sampler(Stepper(model, params), Request(stop="eos", num_chars=CHARS))
    return lambda: [symbol for symbol in sampler.stream(0) if not isinstance(symbol, Drawn)]


def stream_by_torch(model: LanguageModel, params: Parameters) -> Callable[[], list[int]]:
    """Eager modules, one step at a time; the symbol is drawn, and its probability kept, as the sampler does."""
    recurrent, readout = modules(model, params)
    one_hot, filters = torch.eye(model.input_size), Filters()

    @torch.inference_mode()
    def run() -> list[int]:
        streams, symbol, state, symbols, log_prob = RowStreams(0), ALPHABET.bos, None, [], 0.0
        streams.open(range(1))
        for _ in range(CHARS):
            hidden, state = recurrent(one_hot[symbol].reshape(1, 1, -1), state)
            log_probs = log_softmax(readout(hidden[0]).numpy().astype(np.float64))
            p = filters.probabilities(log_probs[:, : ALPHABET.size], ALPHABET.size)
            symbol = int(draw(p, streams.uniform())[0])
            log_prob += log_probs[0, symbol]
            symbols.append(symbol)
        return symbols

    return run


@pytest.mark.benchmark(group=f"{CHARS} characters of one stream of an LSTM 2 x 256")
@pytest.mark.parametrize("by", [stream_by_charrnn, stream_by_torch])
def test_one_stream(benchmark, by):
    model, params = lstm(2, 256, mean_length=1000)
    symbols = benchmark.pedantic(by(model, params), rounds=5, warmup_rounds=1)
    assert symbols == stream_by_charrnn(model, params)()


# Many samples ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def short_texts() -> Sampler:
    model, params = lstm(1, 128, mean_length=7)
    return Sampler(Stepper(model, params), Request(stop="eos", max_chars=100))


def side_by_side(sampler: Sampler) -> Iterator[Drawn]:
    return sampler.draw(range(SAMPLES))


def one_by_one(sampler: Sampler) -> Iterator[Drawn]:
    for number in range(SAMPLES):
        yield from sampler.draw(range(number, number + 1))


@pytest.mark.benchmark(group=f"{SAMPLES} short samples of an LSTM 1 x 128")
@pytest.mark.parametrize("drawn", [side_by_side, one_by_one])
def test_many_samples(benchmark, short_texts, drawn):
    samples = benchmark.pedantic(lambda: list(drawn(short_texts)), rounds=3, warmup_rounds=1)
    assert sorted(sample.number for sample in samples) == list(range(SAMPLES))


# Training --------------------------------------------------------------------------------------------------


def train_by_charrnn() -> Callable[[], object]:
    model, params = lstm(1, 256, mean_length=40)
    rng = np.random.default_rng(1)
    texts = ["".join(rng.choice(ALPHABET.symbols, size=40)) for _ in range(2000)]
    reader = StepReader.of(Sequences.from_texts(texts), ALPHABET)
    source = batch_source(reader, "ordered", ("eos",), batch_size=BATCH, window=WINDOW, seed=0)
    learner = GenerateLearner(
        model, params, source, None, order="ordered", dropout=0.0, seed=0, device=torch.device("cpu")
    )
    optimizer = torch.optim.AdamW(list(learner.parameters.values()), fused=True)

    def run() -> None:
        progress = Progress(schedule=Schedule.for_steps(1e-3, STEPS), eval_every=STEPS)
        loop = Loop(learner, optimizer, progress, SilentObserver(), lambda _progress: None, grad_clip=1.0)
        assert loop.run().step == STEPS

    return run


def train_by_torch() -> Callable[[], object]:
    """One-hot input, cross entropy, clipping and AdamW, on symbols that lie ready."""
    model, params = lstm(1, 256, mean_length=40)
    recurrent, readout = modules(model, params)
    weights = [*recurrent.parameters(), *readout.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=1e-3, fused=True)
    text = torch.randint(ALPHABET.size, (STEPS, WINDOW + 1, BATCH))

    def run() -> None:
        state: tuple[torch.Tensor, torch.Tensor] | None = None
        for window in text:
            inputs = nn.functional.one_hot(window[:-1], model.input_size).float()
            hidden, (h, c) = recurrent(inputs, state)
            state = (h.detach(), c.detach())
            loss = nn.functional.cross_entropy(readout(hidden).flatten(0, 1), window[1:].flatten())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()

    return run


@pytest.mark.benchmark(group=f"{STEPS} steps of training an LSTM 1 x 256 on {BATCH} x {WINDOW} characters")
@pytest.mark.parametrize("by", [train_by_charrnn, train_by_torch])
def test_training(benchmark, by):
    benchmark.pedantic(by(), rounds=5, warmup_rounds=1)


# Kernels ---------------------------------------------------------------------------------------------------


def stepwise(cell: Cell) -> Cell:
    """The same cell without its fast unroll."""
    same = copy(cell)
    vars(same)["kernel"] = lambda: None
    return same


@pytest.mark.parametrize("how", [lambda cell: cell, stepwise], ids=["fused", "stepwise"])
@each_cell
def test_kernels(benchmark, cell, options, how):
    """Forward and backward."""
    benchmark.group = f"unroll {cell} 128 forward and backward over {BATCH} x {WINDOW}"
    built = how(build_cell(cell, 64, 128, options))
    if built.kernel() is None and how is not stepwise:
        pytest.skip("it has no fast unroll")
    fresh = built.init(np.random.default_rng(0))
    params = {name: torch.tensor(value, requires_grad=True) for name, value in fresh.items()}
    inputs = torch.randn(WINDOW, BATCH, 64)
    state = built.zero_state(BATCH, inputs)

    def run() -> torch.Tensor:
        outputs, _ = unroll(built, params, inputs, state)
        outputs.sum().backward()
        return outputs

    outputs = benchmark.pedantic(run, rounds=10, warmup_rounds=2)
    torch.testing.assert_close(outputs, unroll(stepwise(built), params, inputs, state)[0])
