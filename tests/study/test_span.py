"""Attempts at spans: what helps them, against independent oracles, and sweeps that go on where they stopped."""

import itertools
import json
import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers_models import as_torch, make_cell, random_params

from charrnn.cells.cell import map_state, state_arrays
from charrnn.cells.unroll import unroll
from charrnn.errors import CheckpointError, RunLockedError, UsageError
from charrnn.study import sweep as sweeping
from charrnn.study.attempts import AttemptLog, Design, Outcome, Trial, attempt
from charrnn.study.problems import ADDING, COPYING, Batch
from charrnn.study.remedies import (
    Remedies,
    chain_variance,
    clip_gradients,
    flow_penalty,
    log10_repeated_variance,
    start,
    state_gradients,
    traced,
)
from charrnn.study.span import Network, train_on
from charrnn.study.sweep import Sweep, grid, summary

I, H, B, T = 2, 3, 2, 5  # noqa: E741

FLOWING: list[tuple[str, dict[str, Any]]] = [
    ("tanh", {}),
    ("gru", {}),
    ("lstm", {}),
    ("leaky", {"leak_alpha": "0.2:0.8"}),
    ("skip", {"skip_delay": "2"}),
]
each_flowing = pytest.mark.parametrize(("cell", "options"), FLOWING, ids=[name for name, _ in FLOWING])


# Clipping --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_gradients_are_clipped_as_written(scale):
    rng = np.random.default_rng(0)
    gradients = [scale * rng.normal(size=shape) for shape in ((3, 4), (5,))]
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
    expected = {
        "norm": [g * min(1.0, 0.7 / norm) for g in gradients],
        "value": [np.minimum(np.maximum(g, -0.7), 0.7) for g in gradients],
        "none": gradients,
    }
    for clip, wanted in expected.items():
        tensors = [torch.zeros(g.shape).double() for g in gradients]
        for tensor, g in zip(tensors, gradients, strict=True):
            tensor.grad = torch.from_numpy(g.copy())
        clip_gradients(tensors, Remedies(clip=clip, grad_clip=0.7))  # type: ignore[arg-type]
        for tensor, g in zip(tensors, wanted, strict=True):
            np.testing.assert_allclose(np.asarray(tensor.grad), g, rtol=1e-5)


# Where recurrent weights start -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "down", "across"), [("tanh", 1, 1), ("lstm", 4, 1), ("gru", 3, 1), ("skip", 1, 2)]
)
def test_every_matrix_of_an_orthogonal_start_keeps_lengths(cell, down, across):
    built, rng = make_cell(cell, I, 8), np.random.default_rng(0)
    fresh = built.init(rng)
    params = start("orthogonal", built, fresh, rng)
    assert params["weight_hh"].dtype == np.float32
    blocks = [block for rows in np.split(params["weight_hh"], down) for block in np.split(rows, across, axis=1)]
    for block in blocks:
        np.testing.assert_allclose(np.linalg.svd(block, compute_uv=False), 1.0, atol=1e-5)
    for one, other in itertools.combinations(blocks, 2):
        assert np.abs(one - other).max() > 0.1
    assert all(np.array_equal(params[name], fresh[name]) for name in fresh if name != "weight_hh")


@pytest.mark.parametrize(("cell", "alpha"), [("tanh", 0.0), ("leaky", 0.5)])
def test_under_an_identity_start_what_is_read_adds_up(cell, alpha):
    """h is a running sum of U x, times 1 − α in a leaky unit: W = 1, b = 0, and a small U keeps tanh linear."""
    built = make_cell(cell, I, 8, {"leak_alpha": str(alpha)} if cell == "leaky" else {})
    rng = np.random.default_rng(0)
    params = start("identity", built, built.init(rng), rng)
    inputs = rng.normal(size=(20, B, I)).astype(np.float32)
    outputs, _ = unroll(built, params, inputs, built.zero_state(B, inputs))
    sums = (1.0 - alpha) * np.cumsum(inputs @ params["weight_ih"].T, axis=0)
    assert 1e-4 < np.abs(sums).max() < 0.1
    np.testing.assert_allclose(outputs, sums, atol=1e-5)


@pytest.mark.parametrize(
    ("init", "cell", "words"),
    [
        ("identity", "lstm", "32 x 8"),
        ("identity", "skip", "8 x 16"),
        ("orthogonal", "echo_state", "no trained"),
        ("orthogonal", "output_recurrent", "no trained"),
        ("orthogonal", "min_gru", "no trained"),
    ],
)
def test_a_start_that_a_cell_cannot_have_is_refused(init, cell, words):
    built, rng = make_cell(cell, I, 8), np.random.default_rng(0)
    with pytest.raises(ValueError, match=words):
        start(init, built, built.init(rng), rng)


# The flow of gradients -------------------------------------------------------------------------------------


def read(cell: Any, params: Any, inputs: Any, readout: Any) -> tuple[torch.Tensor, list[Any]]:
    """A loss of the last two outputs, and the states on the way."""
    outputs, states = traced(cell, params, inputs, cell.zero_state(B, inputs))
    return ((outputs[-2:] @ readout - 0.3) ** 2).sum(), states


def case(cell: str, options: dict[str, Any]) -> tuple[Any, dict[str, np.ndarray], torch.Tensor, torch.Tensor]:
    built, rng = make_cell(cell, I, H, options), np.random.default_rng(1)
    inputs, readout = (torch.from_numpy(rng.normal(size=shape)) for shape in ((T, B, I), (H,)))
    return built, random_params(built.shapes, scale=0.7), inputs, readout


@each_flowing
def test_a_traced_network_is_the_network(cell, options):
    built, params, inputs, readout = case(cell, options)
    one, other = as_torch(params), as_torch(params)
    outputs, final = unroll(built, other, inputs, built.zero_state(B, inputs))
    loss, states = read(built, one, inputs, readout)
    whole = ((outputs[-2:] @ readout - 0.3) ** 2).sum()
    assert loss.item() == pytest.approx(whole.item(), rel=1e-10)
    for array, wanted in zip(state_arrays(states[-1]), state_arrays(final), strict=True):
        torch.testing.assert_close(array, wanted)
    loss.backward()
    whole.backward()
    for name in params:
        torch.testing.assert_close(one[name].grad, other[name].grad, rtol=1e-9, atol=1e-12)


@each_flowing
def test_gradients_of_states_are_of_all_that_follows(cell, options):
    """Against central differences: the network is run on from a state that was moved."""
    built, params, inputs, readout = case(cell, options)
    tensors = as_torch(params)
    loss, states = read(built, tensors, inputs, readout)
    found = state_gradients(loss, states)

    def onwards(t: int, arrays: list[np.ndarray]) -> float:
        given = iter([torch.from_numpy(array) for array in arrays])
        state = map_state(lambda _: next(given), states[t])
        total = 0.0
        if t > T - 2:
            h = state_arrays(state)[0]  # The output of the step that made it, in all of these cells.
            total += float(((h @ readout - 0.3) ** 2).sum())
        for k in range(t, T):
            output, state = built.step(params, built.project(params, inputs[k].numpy()), as_numpy(state))
            if k >= T - 2:
                total += float(((output @ readout.numpy() - 0.3) ** 2).sum())
        return total

    for t in (1, T - 2, T - 1, T):
        arrays = [array.detach().numpy() for array in state_arrays(states[t])]
        for place, gradient in enumerate(found[t]):
            for index in np.ndindex(*arrays[place].shape):
                ends = []
                for step in (1e-5, -1e-5):
                    moved = [array.copy() for array in arrays]
                    moved[place][index] += step
                    ends.append(onwards(t, moved))
                assert gradient[index].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-7)


def as_numpy(state: Any) -> Any:
    return map_state(lambda array: np.asarray(array.detach() if isinstance(array, torch.Tensor) else array), state)


def penalty_by_hand(built: Any, params: Any, inputs: Any, states: Any, gradients: Any) -> float:
    """Ω from whole Jacobians of single steps, by central differences, a row and a step at a time."""
    total = 0.0
    for b in range(B):
        for t in range(1, T):
            before = [array[b : b + 1].detach().numpy() for array in state_arrays(states[t])]
            v = np.concatenate([np.ravel(g[b].numpy()) for g in gradients[t + 1]])

            def after(arrays: list[np.ndarray], t: int = t, b: int = b) -> np.ndarray:
                given = iter(arrays)
                state = map_state(lambda _: next(given), states[t])
                _, new = built.step(params, built.project(params, inputs[t, b : b + 1].numpy()), state)
                return np.concatenate([np.ravel(array) for array in state_arrays(new)])

            columns = []
            for place, array in enumerate(before):
                for index in np.ndindex(*array.shape):
                    ends = []
                    for step in (1e-5, -1e-5):
                        moved = [other.copy() for other in before]
                        moved[place][index] += step
                        ends.append(after(moved))
                    columns.append((ends[0] - ends[1]) / 2e-5)
            ratio = np.linalg.norm(v @ np.stack(columns, axis=1)) / np.linalg.norm(v)
            total += (ratio - 1.0) ** 2
    return total / B


@each_flowing
def test_the_penalty_is_what_the_equation_says(cell, options):
    built, params, inputs, readout = case(cell, options)
    tensors = as_torch(params)
    loss, states = read(built, tensors, inputs, readout)
    gradients = state_gradients(loss, states)
    found = flow_penalty(built, tensors, inputs, states, gradients).item()
    assert found == pytest.approx(penalty_by_hand(built, params, inputs, states, gradients), rel=1e-6)
    assert found > 0.01


@each_flowing
def test_the_gradient_of_the_penalty_is_that_of_finite_differences(cell, options):
    """In float64, with states and back-propagated gradients held as the constants that they are taken for."""
    built, params, inputs, readout = case(cell, options)
    tensors = as_torch(params)
    loss, states = read(built, tensors, inputs, readout)
    gradients = state_gradients(loss, states)
    flow_penalty(built, tensors, inputs, states, gradients).backward()
    moved_something = 0
    for name, value in params.items():
        got = tensors[name].grad
        for index in list(np.ndindex(*value.shape))[::2]:
            ends = []
            for step in (1e-6, -1e-6):
                moved = value.copy()
                moved[index] += step
                fixed = {**as_torch(params), name: torch.from_numpy(moved)}
                ends.append(flow_penalty(built, fixed, inputs, states, gradients).item())
            wanted = (ends[0] - ends[1]) / 2e-6
            assert (0.0 if got is None else got[index].item()) == pytest.approx(wanted, rel=1e-5, abs=1e-7)
            moved_something += abs(wanted) > 1e-4
    assert moved_something > 5


def test_a_linear_network_that_keeps_lengths_costs_nothing():
    """Around h = 0 tanh is linear: with W orthogonal a step keeps a gradient's length, 2 W doubles it."""
    cell, inputs = make_cell("tanh", I, H), torch.zeros(T, B, I).double()
    W = np.linalg.qr(np.random.default_rng(0).normal(size=(H, H)))[0]
    readout = torch.ones(H).double()
    for scale, each in ((1.0, 0.0), (2.0, 1.0), (0.5, 0.25)):
        params = as_torch({"weight_ih": np.zeros((H, I)), "weight_hh": scale * W, "bias": np.zeros(H)})
        loss, states = read(cell, params, inputs, readout)
        found = flow_penalty(cell, params, inputs, states, state_gradients(loss, states))
        assert found.item() == pytest.approx((T - 1) * each, abs=1e-9)


def test_a_gradient_that_is_zero_is_left_out_and_one_that_is_tiny_is_not():
    built, params, inputs, _ = case("tanh", {})
    _, states = read(built, as_torch(params), inputs, torch.ones(H).double())
    half = [map_state(lambda array: array.detach().float(), state) for state in states]
    weights = {name: torch.from_numpy(value.astype(np.float32)).requires_grad_() for name, value in params.items()}
    directions = torch.from_numpy(np.random.default_rng(0).normal(size=(B, H)).astype(np.float32))
    ordinary, tiny = (
        flow_penalty(built, weights, inputs.float(), half, [[scale * directions]] * (T + 1))
        for scale in (1.0, 1e-32)
    )
    assert tiny.item() == pytest.approx(ordinary.item(), rel=1e-4)
    nothing = flow_penalty(built, weights, inputs.float(), half, [[0.0 * directions]] * (T + 1))
    assert nothing.item() == 0.0
    nothing.backward()
    assert not any(value.grad.any() for value in weights.values() if value.grad is not None)


def test_the_penalty_brings_ratios_to_one():
    """Trained on Ω beside the loss, a network hands gradients on better than one without."""

    def omega(penalty: float) -> float:
        trained = train_on(
            ADDING, "tanh", 12, 0, 60, learning_rate=1e-2, hidden_size=8, remedies=Remedies(flow_penalty=penalty)
        )
        network = Network.of(ADDING, "tanh", 8)
        params = {name: torch.from_numpy(value).requires_grad_() for name, value in trained.params.items()}
        batch = Batch(*map(torch.from_numpy, ADDING.draw(np.random.default_rng(5), 50, 12)))  # type: ignore[arg-type]
        answers, states = network.answer_traced(params, batch)
        gradients = state_gradients(ADDING.loss(answers, batch.targets), states)
        return flow_penalty(network.cell, params, batch.inputs, states, gradients).item()

    assert omega(1.0) < 0.2 * omega(0.0)


@pytest.mark.parametrize("span", [0, 1])
def test_one_step_or_two_have_a_penalty_too(span):
    trained = train_on(
        COPYING, "gru", span, 0, 2, hidden_size=4, batch_size=3, remedies=Remedies(flow_penalty=1.0)
    )
    assert np.isfinite(trained.losses).all()


def test_what_has_no_state_cannot_be_penalised():
    with pytest.raises(ValueError, match="no state"):
        train_on(COPYING, "output_recurrent", 2, 0, 1, hidden_size=4, remedies=Remedies(flow_penalty=1.0))


# A chain of independent weights ----------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [0.01, 1.0, 3.0])
@pytest.mark.parametrize("weights", [1, 2, 5])
def test_the_product_of_a_chain_has_the_variance_that_is_wanted(wanted, weights):
    """Exactly, over all outcomes of independent weights that are −a, 0 or 2a with mean 0."""
    values, chances = np.array([-1.0, 0.0, 2.0]), np.array([0.5, 0.25, 0.25])
    assert chances @ values == 0.0
    values = values * math.sqrt(chain_variance(wanted, weights) / float(chances @ values**2))
    mean = square = 0.0
    for outcome in itertools.product(range(3), repeat=weights):
        chance, product = math.prod(chances[k] for k in outcome), math.prod(values[k] for k in outcome)
        mean, square = mean + chance * product, square + chance * product**2
    assert mean == pytest.approx(0.0, abs=1e-12)
    assert square == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("times", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("variance", [0.3, 1.0, 1.7])
def test_a_normal_weight_that_is_used_again_has_another_variance(variance, times):
    """Gauss and Hermite's quadrature is exact for polynomials."""
    points, weights = np.polynomial.hermite_e.hermegauss(40)
    powers, chances = (math.sqrt(variance) * points) ** times, weights / math.sqrt(2.0 * math.pi)
    exact = float(chances @ powers**2 - (chances @ powers) ** 2)
    assert log10_repeated_variance(variance, times) == pytest.approx(math.log10(exact), abs=1e-9)


# Attempts --------------------------------------------------------------------------------------------------

TINY = Design(cell="tanh", hidden_size=8, batch_size=8)


def trials(spans: tuple[int, ...] = (1, 3), seeds: int = 2, steps: int = 8) -> list[tuple[str, Trial]]:
    designs = {
        "plain": TINY,
        "gated": replace(TINY, cell="gru"),
        "helped": replace(TINY, remedies=Remedies(init="orthogonal", flow_penalty=0.1)),
    }
    return grid("copying", designs, spans, range(1, seeds + 1), steps)


def told(outcome: Outcome) -> Outcome:
    return replace(outcome, seconds=0.0)


def made(wanted: Any, path: Any, jobs: int = 1) -> dict[Any, Outcome]:
    with AttemptLog(path) as done:
        return {
            (label, t.span, t.seed): told(outcome)
            for label, t, outcome in Sweep(wanted, done, jobs=jobs).outcomes()
        }


def test_an_attempt_is_what_its_training_was():
    trial = Trial(problem="copying", span=2, seed=3, steps=7, design=TINY)
    trained = train_on(COPYING, "tanh", 2, 3, 7, hidden_size=8, batch_size=8, learning_rate=TINY.learning_rate)
    outcome = attempt(trial)
    assert (outcome.solved, outcome.steps) == (trained.solved, 7) == (False, 7)
    assert outcome.error == trained.errors[-1]
    assert outcome.loss == trained.fresh_loss
    assert outcome.loss == pytest.approx(COPYING.baseline, rel=0.2)


def test_an_attempt_that_diverges_is_an_outcome():
    wild = replace(TINY, learning_rate=1e30, remedies=Remedies(clip="none"))
    outcome = attempt(Trial(problem="adding", span=5, seed=0, steps=50, design=wild))
    assert (outcome.solved, outcome.loss, outcome.error) == (False, None, None)
    assert outcome.steps < 50


def test_a_success_is_judged_on_fresh_rows():
    design = Design(cell="tanh", learning_rate=1e-2)
    outcome = attempt(Trial(problem="copying", span=1, seed=0, steps=2000, design=design))
    assert outcome.solved
    assert outcome.steps < 400
    assert outcome.error is not None
    assert outcome.error < COPYING.solved_below


# Sweeps ----------------------------------------------------------------------------------------------------


@pytest.fixture
def anew(monkeypatch):
    """The trials that a sweep makes from now on."""
    found: list[Trial] = []

    def counting(trial: Trial, notify: Any) -> Outcome:
        found.append(trial)
        return attempt(trial, notify)

    def count() -> list[Trial]:
        monkeypatch.setattr(sweeping, "attempt", counting)
        return found

    return count


@pytest.mark.parametrize(
    ("stop_after", "torn"),
    [
        (1, b'{"schema":"charrnn.study.span.attempt/1","trial":{"pro'),
        (5, b""),
        pytest.param(1, b"", marks=pytest.mark.slow),
        pytest.param(1, b'{"sch', marks=pytest.mark.slow),
        pytest.param(5, b'{"schema":"charrnn.study.span.attempt/1","trial":{"pro', marks=pytest.mark.slow),
        pytest.param(5, b'{"sch', marks=pytest.mark.slow),
    ],
)
def test_a_sweep_that_went_on_is_one_that_was_not_interrupted(tmp_path, anew, stop_after, torn):
    wanted = trials()
    whole = made(wanted, tmp_path / "whole.jsonl")
    path = tmp_path / "runs" / ".span" / "resumed.jsonl"
    with AttemptLog(path) as done:
        outcomes = Sweep(wanted, done).outcomes()
        first = [next(outcomes)[2] for _ in range(stop_after)]
        outcomes.close()  # type: ignore[attr-defined]
    with open(path, "ab") as file:
        file.write(torn)
    made_now = anew()
    with AttemptLog(path) as done:
        again = list(Sweep(wanted, done).outcomes())
    assert [outcome for _, _, outcome in again[:stop_after]] == first, "not made anew, to the second"
    assert made_now == [trial for _, trial in wanted[stop_after:]]
    assert {(label, t.span, t.seed): told(outcome) for label, t, outcome in again} == whole
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert len({json.dumps(line["trial"]) for line in lines}) == len(lines) == len(wanted)


def test_a_larger_sweep_makes_what_is_new(tmp_path, anew):
    smaller, larger, longer = trials(spans=(1,)), trials(spans=(1, 2)), trials(spans=(1,), steps=9)
    made(smaller, tmp_path / "a.jsonl")
    made_now = anew()
    made(larger, tmp_path / "a.jsonl")
    assert made_now == [trial for _, trial in larger if trial.span == 2]
    made(longer, tmp_path / "a.jsonl")
    assert made_now[-len(longer) :] == [trial for _, trial in longer], "another budget is another attempt"


def test_two_labels_of_one_design_share_its_attempts(tmp_path):
    twice = grid("copying", {"one": TINY, "other": TINY}, (1,), (1,), 3)
    found = made(twice, tmp_path / "a.jsonl")
    assert found["one", 1, 1] == found["other", 1, 1]
    assert len((tmp_path / "a.jsonl").read_bytes().splitlines()) == 1


def test_processes_make_the_same_attempts(tmp_path):
    wanted = trials(spans=(2,))
    assert made(wanted, tmp_path / "two.jsonl", jobs=2) == made(wanted, tmp_path / "one.jsonl")


def test_progress_ends_with_all_and_tells_what_is_left(tmp_path):
    heard: list[tuple[str, float]] = []
    wanted = grid("copying", {"plain": TINY}, (1,), (1, 2), 200)
    with AttemptLog(tmp_path / "a.jsonl") as done:
        list(Sweep(wanted, done, notify=lambda what, share: heard.append((what, share))).outcomes())
    shares = [share for _, share in heard]
    assert shares == sorted(shares)
    assert heard[0] == ("0 of 2 attempts", 0.0)
    assert all(re.fullmatch(r"\d of 2 attempts, at most \d+:\d\d left", what) for what, _ in heard[1:])


@pytest.mark.parametrize(
    "text", ["names\n", "anna", "{}\n", '{"schema":"charrnn.study.span.attempt/2"}\n', "{" * 200]
)
def test_a_file_that_is_not_a_sweeps_is_left_alone(tmp_path, text):
    path = tmp_path / "mine.txt"
    path.write_text(text)
    with pytest.raises(CheckpointError, match="line 1"):
        AttemptLog(path)
    assert path.read_text() == text


def test_a_directory_is_no_file_of_results(tmp_path):
    with pytest.raises(CheckpointError, match="directory"):
        AttemptLog(tmp_path)


def test_a_file_of_results_has_one_writer(tmp_path):
    with AttemptLog(tmp_path / "a.jsonl"), pytest.raises(RunLockedError, match="another sweep"):
        AttemptLog(tmp_path / "a.jsonl")
    AttemptLog(tmp_path / "a.jsonl").close()


@pytest.mark.parametrize(
    ("problem", "design", "span", "words"),
    [
        ("adding", TINY, 1, "at least 2"),
        ("temporal_order_3", TINY, 4, "at least 5"),
        ("adding", replace(TINY, cell="lstm", remedies=Remedies(init="identity")), 5, "32 x 8"),
        ("adding", replace(TINY, cell="leaky", options={"leak_alpha": "2"}), 5, "leak_alpha"),
    ],
)
def test_what_cannot_be_tried_is_refused_at_once(problem, design, span, words):
    with pytest.raises(UsageError, match=words):
        grid(problem, {"x": design}, (span,), (1,), 10)


def test_a_summary_counts_every_attempt():
    def outcome(solved: bool, steps: int, loss: float | None) -> Outcome:
        return Outcome(solved=solved, steps=steps, loss=loss, error=loss, seconds=1.0)

    mixed = [
        outcome(True, 300, 0.001),
        outcome(False, 900, 0.2),
        outcome(False, 17, None),
        outcome(True, 500, 0.003),
    ]
    found = summary("x", 10, mixed)
    assert (found.attempts, found.solved, found.median_steps) == (4, 2, 400.0)
    assert found.median_loss == pytest.approx((0.003 + 0.2) / 2)
    diverged = summary("x", 10, mixed[2:3] * 3)
    assert (diverged.attempts, diverged.solved, diverged.median_steps, diverged.median_loss) == (3, 0, None, None)


# What the chapter says -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_over_a_hundred_steps_a_gated_unit_adds_and_a_plain_one_does_not(seed):
    """Section 10.7, with the settings of the command; a constant's error is 0.167."""
    gated, plain = (
        attempt(Trial(problem="adding", span=100, seed=seed, steps=5000, design=Design(cell=cell)))
        for cell in ("gru", "tanh")
    )
    assert gated.solved
    assert not plain.solved
    assert plain.loss is None or plain.loss > 0.1
