"""Synthetic problems, what is trained on them, and how far gradients reach."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers_models import as_torch, each_cell, make_cell, random_params

from charrnn.cells.arrays import OneHot
from charrnn.cells.cell import map_state, state_arrays
from charrnn.cells.deep_transition import DeepTransition
from charrnn.study.gradients import gradient_norms, output_jacobians
from charrnn.study.problems import (
    ADDING,
    ANSWERS,
    BRACKETS,
    CHARACTERS,
    COPYING,
    PROBLEMS,
    SYMBOLS,
    TEMPORAL_ORDER,
    TEMPORAL_ORDER_3,
    Batch,
    copying,
    wrong_answers,
)
from charrnn.study.span import Network, train_on

each_problem = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)


# Problems --------------------------------------------------------------------------------------------------


@each_problem
@pytest.mark.parametrize("more", [0, 1, 3, 12])
def test_shapes_are_those_of_the_problem(problem, more):
    span = problem.shortest_span + more
    inputs, targets = problem.draw(np.random.default_rng(0), 7, span)
    assert inputs.shape[1:] == (7, problem.input_size)
    assert inputs.dtype == np.float32
    assert len(targets) <= len(inputs)
    classes = np.issubdtype(targets.dtype, np.integer)
    assert targets.shape[1:] == ((7,) if classes else (7, problem.output_size))


@each_problem
def test_draws_depend_on_the_generator_alone_and_are_fresh(problem):
    rng = np.random.default_rng(3)
    one, other = (problem.draw(rng, 4, 6) for _ in range(2))
    same = problem.draw(np.random.default_rng(3), 4, 6)
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one.inputs, other.inputs)


@each_problem
def test_the_baseline_is_the_loss_of_the_best_constant(problem):
    """Over many rows: what the means of the targets cost."""
    _, targets = problem.draw(np.random.default_rng(0), 20_000, 10)
    if np.issubdtype(targets.dtype, np.integer):
        shares = np.bincount(targets.ravel(), minlength=problem.output_size) / targets.size + 1e-30
        best, others = np.log(shares), np.log(np.eye(problem.output_size) * 0.1 + shares)
    else:
        best, others = targets.mean(axis=(0, 1)), [targets.mean() - 0.1, targets.mean() + 0.1]

    def loss(constant: Any) -> float:
        return float(problem.loss(np.broadcast_to(constant, (*targets.shape[:2], problem.output_size)), targets))

    assert loss(best) == pytest.approx(problem.baseline, rel=0.02)
    assert all(loss(other) > loss(best) for other in others)


@each_problem
def test_losses_are_the_same_in_both_libraries(problem):
    rng = np.random.default_rng(0)
    _, targets = problem.draw(rng, 5, 6)
    outputs = rng.normal(size=(*targets.shape[:2], problem.output_size))
    for measure in (problem.loss, problem.error):
        tensor = measure(torch.from_numpy(outputs), torch.from_numpy(targets))
        assert float(measure(outputs, targets)) == pytest.approx(float(tensor), rel=1e-6)


@pytest.mark.parametrize("span", [2, 7, 30])
def test_adding_asks_for_the_sum_at_the_markers(span):
    inputs, targets = ADDING.draw(np.random.default_rng(1), 200, span)
    assert (len(inputs), len(targets)) == (span, 1)
    places = set()
    for row in range(200):
        marked = np.flatnonzero(inputs[:, row, 1])
        assert len(marked) == 2
        assert marked[0] < span // 2 <= marked[1]
        assert targets[0, row, 0] == pytest.approx(float(inputs[marked, row, 0].sum()), rel=1e-6)
        places |= set(marked.tolist())
    assert places == set(range(span))
    assert set(np.unique(inputs[..., 1])) <= {0.0, 1.0}
    assert 0.0 <= inputs[..., 0].min() < 0.05
    assert 0.95 < inputs[..., 0].max() < 1.0


def test_adding_needs_two_steps():
    with pytest.raises(ValueError, match="span 1"):
        ADDING.draw(np.random.default_rng(0), 1, 1)


@pytest.mark.parametrize("span", [0, 1, 5])
def test_copying_asks_for_what_was_read_before(span):
    inputs, targets = copying(3).draw(np.random.default_rng(1), 50, span)
    assert len(inputs) == span + ANSWERS
    assert (inputs.sum(axis=-1) == 1.0).all()
    for n in range(ANSWERS):
        asked_at = len(inputs) - ANSWERS + n
        assert np.array_equal(inputs[asked_at - span].argmax(-1), targets[n])


LEGAL_PLACES = {
    2: ((10, 20), (50, 60)),
    3: ((10, 20), (33, 43), (66, 76)),
}
"""Of 100 steps between E and B: the tenths in which the paper has its marks among 100 to 110."""


@pytest.mark.parametrize(("problem", "marks"), [(TEMPORAL_ORDER, 2), (TEMPORAL_ORDER_3, 3)])
@pytest.mark.parametrize("more", [0, 1, 7, 60, 97])
def test_temporal_order_asks_for_the_marks_in_their_order(problem, marks, more):
    """A reader that keeps nothing but the X and Y it meets, and then looks its word up among all such words."""
    words = ["".join(word) for word in itertools.product("XY", repeat=marks)]
    span = problem.shortest_span + more
    inputs, targets = problem.draw(np.random.default_rng(1), 300, span)
    assert len(inputs) == span
    assert (inputs.sum(axis=-1) == 1.0).all()
    texts = ["".join(SYMBOLS[i] for i in row) for row in inputs.argmax(-1).T]
    for text, answer in zip(texts, targets[0], strict=True):
        assert (text[0], text[-1]) == ("E", "B")
        assert set(text[1:-1]) <= set("abcdXY")
        assert words.index("".join(symbol for symbol in text if symbol in "XY")) == answer
    assert set(targets[0].tolist()) == set(range(2**marks))


@pytest.mark.parametrize(("problem", "marks"), [(TEMPORAL_ORDER, 2), (TEMPORAL_ORDER_3, 3)])
def test_marks_stand_where_the_paper_has_them(problem, marks):
    inputs, _ = problem.draw(np.random.default_rng(1), 2000, 102)
    symbols = inputs.argmax(-1)
    marked = np.isin(symbols, [SYMBOLS.index("X"), SYMBOLS.index("Y")])
    places = [np.flatnonzero(row) - 1 for row in marked.T]
    for mark, (first, last) in enumerate(LEGAL_PLACES[marks]):
        assert {int(row[mark]) for row in places} == set(range(first, last))


@pytest.mark.parametrize("span", [1, 2, 30])
def test_brackets_ask_for_what_closes_the_text(span):
    """A stack of what is open tells the character that is missing."""
    pairs = {"(": ")", "[": "]", "{": "}", "<": ">"}
    inputs, targets = BRACKETS.draw(np.random.default_rng(1), 200, span)
    assert len(inputs) == span
    closed_by = set()
    for row, answer in zip(inputs.argmax(-1).T, targets[0], strict=True):
        text, stack = "".join(CHARACTERS[i] for i in row), []
        for character in text:
            if character in pairs:
                stack.append(pairs[character])
            elif character in pairs.values():
                assert stack.pop() == character
        assert stack == [CHARACTERS[answer]]
        assert text[0] in pairs
        assert all(character.isalpha() for character in text[1:])
        closed_by.add(CHARACTERS[answer])
    assert closed_by == set(pairs.values())


@each_problem
def test_a_span_that_is_too_short_is_refused(problem):
    if problem.shortest_span > 0:
        with pytest.raises(ValueError, match=f"span {problem.shortest_span - 1}"):
            problem.draw(np.random.default_rng(0), 3, problem.shortest_span - 1)


def test_wrong_answers_are_counted():
    outputs = np.array([[[2.0, 1.0], [0.0, 1.0]], [[3.0, 1.0], [0.5, 0.0]]])
    assert wrong_answers(outputs, np.array([[0, 1], [1, 0]])) == 0.25


# Networks --------------------------------------------------------------------------------------------------


@each_cell
@each_problem
def test_every_cell_trains_on_every_problem(cell, options, problem):
    attempt = train_on(problem, cell, 6, 0, 3, options=options, hidden_size=4, batch_size=8, check_every=2)
    assert (len(attempt.losses), len(attempt.errors)) == (3, 2)
    assert np.isfinite(attempt.losses).all()
    network = Network.of(problem, cell, 4, options)
    fresh = network.init(np.random.default_rng(0).spawn(3)[0])
    assert {name: value.shape for name, value in attempt.params.items()} == {
        name: value.shape for name, value in fresh.items()
    }
    moved = {name for name, value in attempt.params.items() if not np.array_equal(value, fresh[name])}
    assert moved <= fresh.keys() - network.cell.frozen
    assert moved >= {name for name in fresh if name.startswith("readout.") or name.endswith("_ho")}


def test_an_attempt_depends_on_its_seed_alone():
    one, same, other = (train_on(COPYING, "tanh", 2, seed, 5, hidden_size=8, check_every=5) for seed in (0, 0, 1))
    assert np.array_equal(one.losses, same.losses)
    assert not np.array_equal(one.losses, other.losses)


def test_training_stops_when_the_problem_is_solved():
    attempt = train_on(COPYING, "tanh", 1, 0, 2000, learning_rate=1e-2, check_every=20)
    assert attempt.solved
    assert len(attempt.losses) < 400
    assert (attempt.errors[:-1] >= COPYING.solved_below).all()
    assert attempt.errors[-1] < COPYING.solved_below
    assert attempt.losses[0] > 1.2 > 0.3 > attempt.losses[-1]


def test_under_teacher_forcing_the_true_output_before_comes_first():
    network = Network.of(COPYING, "output_recurrent", 5)
    plain = COPYING.draw(np.random.default_rng(0), 6, 3)
    inputs, targets = network.draw(np.random.default_rng(0), 6, 3)
    S = COPYING.output_size
    assert inputs.shape == (3 + ANSWERS, 6, 2 * S)
    assert np.array_equal(inputs[..., S:], plain.inputs)
    assert np.array_equal(targets, plain.targets)
    assert not inputs[:4, :, :S].any(), "nothing was asked for before"
    assert np.array_equal(inputs[4:, :, :S].argmax(-1), targets[:-1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_under_teacher_forcing_all_steps_at_once_are_one_after_another(dtype):
    """Deep Learning, section 10.2.1: without hidden-to-hidden connections the gradient of each step is its own."""
    network = Network.of(COPYING, "output_recurrent", 16)
    params = random_params(network.cell.shapes, dtype=dtype)
    inputs, targets = network.draw(np.random.default_rng(1), 8, 5)
    batch = Batch(torch.from_numpy(inputs.astype(dtype)), torch.from_numpy(targets))  # type: ignore[arg-type]

    def step_by_step(tensors: Any) -> torch.Tensor:
        state, outputs = network.cell.zero_state(8, batch.inputs), []
        for x in batch.inputs:
            output, state = network.cell.step(tensors, network.cell.project(tensors, x), state)
            outputs.append(output)
        return torch.stack(outputs[-ANSWERS:])

    at_once, one_by_one = as_torch(params), as_torch(params)
    parallel = COPYING.loss(network.answer(at_once, batch), batch.targets)
    sequential = COPYING.loss(step_by_step(one_by_one), batch.targets)
    assert parallel.item() == pytest.approx(sequential.item(), abs=1e-6)
    parallel.backward()
    sequential.backward()
    for name in params:
        torch.testing.assert_close(at_once[name].grad, one_by_one[name].grad, rtol=1e-5, atol=1e-6)


# Gradients -------------------------------------------------------------------------------------------------

I, H, B, T = 2, 3, 2, 6  # noqa: E741


def brute_force(cell: Any, params: Any, inputs: Any, state: Any) -> list[np.ndarray]:
    """∂h(T)/∂s(T−τ), (B, H, S), τ = 1 … T: torch's Jacobian of all remaining steps, a row at a time."""
    tensors = {name: torch.from_numpy(value) for name, value in params.items()}
    found: list[list[np.ndarray]] = [[] for _ in range(len(inputs))]
    for b in range(inputs.shape[1]):
        x = torch.from_numpy(inputs[:, b : b + 1])
        current = map_state(lambda array, b=b: torch.from_numpy(array[b : b + 1]), state)
        for t in range(len(inputs)):
            arrays = state_arrays(current)
            sizes = [array.shape for array in arrays]

            def rest(flat: Any, t: int = t, like: Any = current, sizes: Any = sizes, x: Any = x) -> Any:
                pieces = flat.split([size.numel() for size in sizes])
                parts = iter([part.reshape(size) for part, size in zip(pieces, sizes, strict=True)])
                s = map_state(lambda _, parts=parts: next(parts), like)
                for k in range(t, len(x)):
                    output, s = cell.step(tensors, cell.project(tensors, x[k]), s)
                return output[0]

            flat = torch.cat([array.reshape(-1) for array in arrays]) if arrays else torch.zeros(0).double()
            jacobian = torch.autograd.functional.jacobian(rest, flat)
            found[len(inputs) - t - 1].append(np.asarray(jacobian))
            _, current = cell.step(tensors, cell.project(tensors, x[t]), current)
    return [np.stack(rows) for rows in found]


def assert_exact(cell: Any) -> None:
    params = random_params(cell.shapes, scale=0.8)
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(T, B, I))
    state = map_state(lambda zero: rng.normal(size=zero.shape), cell.zero_state(B, np.zeros(1)))
    expected = brute_force(cell, params, inputs, state)
    measured = list(output_jacobians(cell, params, inputs, state=state))
    assert len(measured) == T
    for J, brute in zip(measured, expected, strict=True):
        np.testing.assert_allclose(J.numpy(), brute, rtol=0, atol=1e-12)
    for norm, order in (("frobenius", "fro"), ("spectral", 2)):
        norms = [np.linalg.norm(J, order, axis=(1, 2)).mean() if J.size else 0.0 for J in expected]
        got = gradient_norms(cell, params, inputs, state=state, norm=norm)  # type: ignore[arg-type]
        np.testing.assert_allclose(got, norms, rtol=1e-6, atol=1e-12)


@each_cell
def test_jacobians_are_those_of_brute_force(cell, options):
    assert_exact(make_cell(cell, I, H, options))


def test_a_deep_transition_has_its_jacobians_too():
    assert_exact(DeepTransition(make_cell("lstm", I, H), 3))


@each_cell
def test_the_state_is_zero_unless_given_and_symbols_are_their_vectors(cell, options):
    built = make_cell(cell, I, H, options)
    params = built.init(np.random.default_rng(0))
    ids = np.random.default_rng(1).integers(I, size=(T, B))
    vectors = np.eye(I)[ids]
    zero = built.zero_state(B, np.zeros(1))
    expected = gradient_norms(built, params, vectors, state=zero)
    np.testing.assert_array_equal(gradient_norms(built, params, vectors), expected)
    np.testing.assert_allclose(gradient_norms(built, params, OneHot(ids, I)), expected, rtol=1e-12, atol=0)
    assert expected.dtype == np.float64


def test_what_has_no_state_hands_nothing_on():
    forced = make_cell("output_recurrent", I, H)
    params = random_params(forced.shapes)
    assert not gradient_norms(forced, params, np.zeros((T, B, I))).any()
    delays = make_cell("time_delay", I, H, {"delay_levels": 2})
    norms = gradient_norms(delays, random_params(delays.shapes), np.zeros((T, B, I)))
    assert (norms[:3] > 0).all()
    assert not norms[3:].any(), "the reach of two levels is four inputs"


@pytest.mark.parametrize("radius", [0.8, 1.0, 1.1])
def test_without_inputs_the_norm_falls_as_the_spectral_radius(radius):
    """Around h = 0 a tanh unit is linear: ∂h(T)/∂h(t) = W^(T−t), whose norm grows as ρ(W)^(T−t)."""
    steps, units = 400, 6
    cell = make_cell("tanh", 1, units)
    W = np.random.default_rng(0).normal(size=(units, units))
    W *= radius / np.abs(np.linalg.eigvals(W)).max()
    params = {"weight_ih": np.zeros((units, 1)), "weight_hh": W, "bias": np.zeros(units)}
    norms = gradient_norms(cell, params, np.zeros((steps, 1, 1)))
    powers = [np.linalg.norm(np.linalg.matrix_power(W, lag)) for lag in range(1, steps + 1)]
    np.testing.assert_allclose(norms, powers, rtol=1e-9)
    lags = np.arange(1, steps + 1)
    slope = np.polyfit(lags[steps // 4 :], np.log(norms[steps // 4 :]), 1)[0]
    assert slope == pytest.approx(math.log(radius), abs=1e-3)


def test_a_leaky_unit_without_recurrence_forgets_at_its_own_rate():
    """W = 0: ∂h(T)/∂h(t) = α^(T−t), each unit for itself."""
    cell = make_cell("leaky", 1, 2, {"leak_alpha": "0.5:0.9"})
    params = random_params(cell.shapes) | {"weight_hh": np.zeros((2, 2))}
    norms = gradient_norms(cell, params, np.random.default_rng(0).normal(size=(50, 3, 1)))
    lags = np.arange(1, 51)
    np.testing.assert_allclose(norms, np.hypot(0.5**lags, 0.9**lags), rtol=1e-12)
    spectral = gradient_norms(cell, params, np.zeros((50, 3, 1)), norm="spectral")
    np.testing.assert_allclose(spectral, 0.9**lags, rtol=1e-12)
