"""Gradients through time against Jacobians by brute force, spectra against NumPy's, and texts cut into rows."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers_models import CELL_CASES, DEPTHS, alphabet_of, corpus, make_cell, make_model, random_params

from charrnn.cells.cell import map_state, state_arrays
from charrnn.cells.unroll import trace
from charrnn.config import StopName
from charrnn.corpus.passes import WARM_UP
from charrnn.corpus.steps import ABSENT
from charrnn.errors import CorpusError
from charrnn.models.language_model import LanguageModel
from charrnn.study import gradients, jacobians
from charrnn.study import spectrum as spectra
from charrnn.study.excerpts import Excerpts, excerpts
from charrnn.study.gradients import log_gradient_norms, pull_back
from charrnn.study.jacobians import StepJacobians, growth, largest_singular_values, step_norms
from charrnn.study.spectrum import meaning_of_spectrum, recurrent_matrices, spectrum
from charrnn.study.through_time import decay, require_state, slope, through_time
from charrnn.study.trajectory import Trajectory, flat, follow, unflattener

TEXTS = ["abbabaabab", "babbbaabaa"]
VOCABULARY = alphabet_of(2)

WITH_STATE = [case for case in CELL_CASES if case != ("output_recurrent", {})]
DEEP: list[tuple[str, dict[str, Any]]] = [("lstm", DEPTHS[3]), ("leaky", DEPTHS[-1])]
each_state = pytest.mark.parametrize(("cell", "options"), WITH_STATE)


def each_state_at(usual: int, least: int) -> pytest.MarkDecorator:
    """Every cell with the usual bound of memory, and two with the least, where all is done piece by piece."""
    pieces = [("lstm", {}, least), ("skip", {"skip_delay": "2,3"}, least)]
    return pytest.mark.parametrize(
        ("cell", "options", "most"), [*((*case, usual) for case in WITH_STATE), *pieces]
    )


def rows_of(texts: list[str] = TEXTS, length: int = 5, stop: StopName = "eos") -> Excerpts:
    return excerpts(
        corpus(texts), VOCABULARY, order="independent", stop=stop, rows=len(texts), length=length, name="text"
    )


def random_model(cell: str, options: dict[str, Any], num_layers: int, **settings: Any) -> tuple[Any, Any]:
    model = make_model(cell, options, num_layers=num_layers, **settings)
    return model, random_params(model.shapes, scale=0.8)


def composed(model: Any, params: Any, text: Excerpts, row: int) -> list[tuple[np.ndarray, list[int]]]:
    """∂(h_1(T), …, h_L(T))/∂(s_1(t), …, s_L(t)) of a row for t = T − 1, T − 2 … 0, and the layers' state sizes.

    Forward from every t by the cells' own steps, which torch differentiates at once.
    """
    tensors = {name: torch.from_numpy(value) for name, value in params.items()}
    layers = model.stack.params(tensors)
    ids = torch.from_numpy(text.steps.inputs[:, row : row + 1])

    def advance(states: list[Any], t: int) -> tuple[list[torch.Tensor], list[Any]]:
        x, outputs, after = model.inputs(tensors, ids[t], None), [], []
        for cell, own, state in zip(model.layers, layers, states, strict=True):
            x, new = cell.step(own, cell.project(own, x), state)
            outputs.append(x)
            after.append(new)
        return outputs, after

    states = list(model.initial_state(tensors, 1))
    for t in range(text.warm_up):
        states = advance(states, t)[1]
    found = []
    for t in range(text.warm_up, len(ids)):
        sizes = [sum(array.numel() for array in state_arrays(state)) for state in states]

        def rest(flattened: Any, t: int = t, like: Any = tuple(states), sizes: Any = tuple(sizes)) -> Any:
            pieces = flattened.split(sizes)
            current = [unflattener(one)(piece[None]) for one, piece in zip(like, pieces, strict=True)]
            for later in range(t, len(ids)):
                outputs, current = advance(current, later)
            return torch.cat([output[0] for output in outputs])

        start = torch.cat([flat(state_arrays(state))[0] for state in states])
        found.append((torch.autograd.functional.jacobian(rest, start).numpy(), sizes))
        states = advance(states, t)[1]
    return found[::-1]


def split_up(J: np.ndarray, sizes: list[int], outputs: list[int], of: int, by: int) -> np.ndarray:
    """The block ∂h_of/∂s_by."""
    rows, columns = np.cumsum([0, *outputs]), np.cumsum([0, *sizes])
    return J[rows[of] : rows[of + 1], columns[by] : columns[by + 1]]


@pytest.mark.parametrize(("cell", "options"), [*WITH_STATE, *DEEP])
def test_jacobians_of_deep_stacks_are_those_of_the_composed_steps(cell, options):
    """Three layers: each output by its own state, and the top's output by every state."""
    model, params = random_model(cell, options, 3)
    text = rows_of()
    paths = follow(model, params, text.steps, text.warm_up)
    outputs = [one.output_size for one in model.layers]
    whole = list(pull_back(paths.whole, torch.eye(outputs[-1]).double()))
    own = [list(pull_back(path, torch.eye(H).double())) for path, H in zip(paths.layers, outputs, strict=True)]
    for row in range(len(TEXTS)):
        for lag, (J, sizes) in enumerate(composed(model, params, text, row)):
            scale = float(whole[lag].log_scale[row].exp())
            top = scale * np.concatenate([a[:, row].flatten(1).numpy() for a in whole[lag].arrays], -1)
            expected = np.concatenate([split_up(J, sizes, outputs, 2, by) for by in range(3)], -1)
            np.testing.assert_allclose(top, expected, rtol=0, atol=1e-10)
            for number in range(3):
                arrays, log_scale = own[number][lag]
                got = float(log_scale[row].exp()) * np.concatenate([a[:, row].flatten(1) for a in arrays], -1)
                expected = split_up(J, sizes, outputs, number, number)
                np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10)


@each_state_at(gradients.MOST_NUMBERS, 1)
def test_log_norms_are_those_of_the_jacobians_array_by_array(cell, options, most, monkeypatch):
    """Whether all rows of a Jacobian go back together or each alone."""
    monkeypatch.setattr(gradients, "MOST_NUMBERS", most)
    model, params = random_model(cell, options, 1)
    text = rows_of()
    path = follow(model, params, text.steps, 0).layers[0]
    shares: list[float] = []
    found = log_gradient_norms(path, model.layers[0].output_size, shares.append)
    sizes = [array[0].numel() for array in state_arrays(path.states[0])]
    for row in range(len(TEXTS)):
        for lag, (J, _) in enumerate(composed(model, params, text, row)):
            parts = np.split(J, np.cumsum(sizes)[:-1], axis=1)
            norms = [np.linalg.norm(part) for part in parts]
            np.testing.assert_allclose(np.exp(found[lag, row]), norms, rtol=1e-9, atol=1e-12)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_norms_far_beyond_the_range_of_floats_keep_their_logarithm(dtype):
    """W = ρ Q with Q orthogonal, around h = 0: ‖W^τ‖ = ρ^τ √H, which 200 steps of ρ = 0.01 or 100 cannot hold."""
    H, T = 4, 200
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(H, H)))[0]
    for radius in (0.01, 100.0):
        path = at_rest(radius * Q, T, dtype)
        found = log_gradient_norms(path, H)[:, 0, 0]
        lags = np.arange(1, T + 1)
        expected = lags * math.log(radius) + 0.5 * math.log(H)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 if dtype == np.float32 else 1e-9)
        np.testing.assert_allclose(growth(path), T * math.log(radius), rtol=1e-6)


def at_rest(W: np.ndarray, steps: int, dtype: Any = np.float64) -> Trajectory:
    """A tanh unit at h = 0 with nothing to read, where it is linear."""
    H = len(W)
    cell = make_cell("tanh", 1, H)
    params = {"weight_ih": np.zeros((H, 1)), "weight_hh": W, "bias": np.zeros(H)}
    tensors = {name: torch.from_numpy(value.astype(dtype)) for name, value in params.items()}
    zero = torch.zeros(steps, 1, H, dtype=tensors["bias"].dtype)
    states = trace(cell, tensors, zero, cell.zero_state(1, zero)).states
    return Trajectory(cell, tensors, zero, states)


def step_jacobian(path: Trajectory, t: int, row: int) -> np.ndarray:
    """∂s(t+1)/∂s(t), (S, S), formed."""
    before = map_state(lambda array: array[row : row + 1], path.states[t])

    def step(vector: Any) -> Any:
        state = unflattener(before)(vector[None])
        _, after = path.cell.step(path.params, path.projected[t, row : row + 1], state)
        return flat(state_arrays(after))[0]

    jacobian: np.ndarray = torch.autograd.functional.jacobian(step, flat(state_arrays(before))[0]).numpy()
    return jacobian


def some_path(cell: str, options: dict[str, Any], length: int = 5) -> Trajectory:
    model, params = random_model(cell, options, 2)
    return follow(model, params, rows_of(length=length).steps, 0).layers[1]


@each_state
def test_products_with_a_steps_jacobian_are_those_of_the_matrix(cell, options):
    path = some_path(cell, options)
    step = StepJacobians(path.cell, path.params, path.projected[3], path.states[3])
    vectors = torch.from_numpy(np.random.default_rng(2).normal(size=(path.num_rows, path.state_size)))
    for row in range(path.num_rows):
        J, v = step_jacobian(path, 3, row), vectors[row].numpy()
        assert np.abs(J).max() > 0.1, "a Jacobian of nothing shows nothing"
        np.testing.assert_allclose(step.push(vectors)[row], J @ v, rtol=0, atol=1e-12)
        np.testing.assert_allclose(step.pull(vectors)[row], v @ J, rtol=0, atol=1e-12)


@each_state_at(jacobians.MOST_NUMBERS, 1)
def test_the_largest_singular_value_of_each_step_is_that_of_the_formed_jacobian(cell, options, most, monkeypatch):
    monkeypatch.setattr(jacobians, "MOST_NUMBERS", most)
    path = some_path(cell, options)
    expected = [
        [np.linalg.norm(step_jacobian(path, t, row), 2) for row in range(path.num_rows)] for t in range(path.lags)
    ]
    np.testing.assert_allclose(step_norms(path), expected, rtol=1e-6)


@each_state_at(jacobians.MOST_KEPT, 0)
def test_growth_is_that_of_the_product_of_the_formed_jacobians(cell, options, most, monkeypatch):
    monkeypatch.setattr(jacobians, "MOST_KEPT", most)
    path = some_path(cell, options, length=2)
    found = growth(path)
    for row in range(path.num_rows):
        product = np.eye(path.state_size)
        for t in range(path.lags):
            product = step_jacobian(path, t, row) @ product
        largest = np.linalg.norm(product, 2)
        assert largest > 1e-6
        assert found[row] == pytest.approx(math.log(largest), abs=1e-4)


def test_nothing_is_left_beyond_the_reach_of_a_time_delay_network():
    """Two levels see four inputs: what came five steps before is gone, and so is its logarithm."""
    path = some_path("time_delay", {"delay_levels": 2}, length=8)
    assert np.isneginf(growth(path)).all()
    norms = log_gradient_norms(path, 3)
    assert np.isfinite(norms[:3].max(axis=-1)).all()
    assert np.isneginf(norms[3:]).all()
    found = decay(norms)
    assert found.norms[3:] == (0.0,) * 5
    assert found.rate is None


@pytest.mark.parametrize("size", [1, 3, 40, 200])
def test_singular_values_of_matrices_of_any_size_and_rank(size):
    """Random ones, of rank one, orthogonal, zero, and with two nearly equal largest values, side by side."""
    rng = np.random.default_rng(size)
    Q, P = (np.linalg.qr(rng.normal(size=(size, size)))[0] for _ in range(2))
    near = Q @ np.diag(np.linspace(1.0, 0.999, size)) @ P
    matrices = [rng.normal(size=(size, size)), np.outer(Q[0], P[0]), Q, np.zeros((size, size)), near, 1e-12 * near]
    A = torch.from_numpy(np.stack(matrices))
    start = torch.from_numpy(rng.normal(size=(len(A), size)))
    found = largest_singular_values(lambda v: (A @ v[..., None])[..., 0], lambda u: (u[:, None] @ A)[:, 0], start)
    expected = [np.linalg.norm(matrix, 2) for matrix in matrices]
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=0)


# The linear case -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [0.7, 1.1])
def test_where_nothing_is_read_rate_and_exponent_are_the_logarithm_of_the_spectral_radius(radius):
    """Around h = 0 tanh is linear: ∂h(T)/∂h(t) = W^(T−t), in both layers, whatever the text."""
    model, params = random_model("tanh", {}, 2, hidden_size=6)
    zero = {name: np.zeros_like(value) for name, value in params.items()}
    for layer in range(2):
        W = np.random.default_rng(layer).normal(size=(6, 6))
        zero[f"layers.{layer}.weight_hh"] = W * radius ** (layer + 1) / np.abs(np.linalg.eigvals(W)).max()
    report = through_time(model, zero, rows_of([t * 12 for t in TEXTS], length=120), data="text")
    for number, layer in enumerate(report.layers, start=1):
        W = zero[f"layers.{number - 1}.weight_hh"]
        log_radius = number * math.log(radius)
        assert layer.own.rate == pytest.approx(log_radius, abs=5e-3)
        assert layer.lyapunov == pytest.approx(
            math.log(np.linalg.norm(np.linalg.matrix_power(W, 120), 2)) / 120, rel=1e-6
        )
        assert layer.lyapunov == pytest.approx(log_radius, abs=3e-2)
        assert layer.matrices[0].radius == pytest.approx(radius**number, rel=1e-12)
        assert layer.stretch.least == pytest.approx(np.linalg.norm(W, 2), rel=1e-6)
        powers = [np.linalg.norm(np.linalg.matrix_power(W, lag)) for lag in range(1, 121)]
        np.testing.assert_allclose(layer.own.norms, powers, rtol=1e-8)
    assert not any(report.layers[0].top.norms), "U of the second layer is zero"


# The report ------------------------------------------------------------------------------------------------


def test_a_report_is_the_means_over_rows_of_what_each_row_shows():
    model, params = random_model("lstm", {}, 2)
    text = rows_of()
    together = through_time(model, params, text, data="text")
    logs: list[list[np.ndarray]] = [[], []]
    for row in range(len(TEXTS)):
        for J, sizes in composed(model, params, text, row):
            for layer, list_of in enumerate(logs):
                list_of.append(np.log(np.linalg.norm(split_up(J, sizes, [3, 3], 1, layer))))
    for layer, list_of in zip(together.layers, logs, strict=True):
        by_row = np.reshape(list_of, (len(TEXTS), 5))
        np.testing.assert_allclose(layer.top.norms, np.exp(by_row).mean(axis=0), rtol=1e-9)
        np.testing.assert_allclose(layer.top.log_norms, by_row.mean(axis=0), rtol=1e-9)
        assert layer.lyapunov == pytest.approx(np.mean(layer.lyapunov_rows), rel=1e-12)
        assert layer.state_size == 6
        assert (len(layer.stretch.each), len(layer.stretch.each[0])) == (5, 2)
        assert layer.stretch.mean == pytest.approx(np.mean(layer.stretch.each), rel=1e-12)
    assert together.layers[1].own == together.layers[1].top
    assert (together.model, together.rows, together.length, together.warm_up) == ("lstm 2 x 3", 2, 5, 0)


def test_steps_of_warm_up_move_the_state_and_are_not_measured():
    model, params = random_model("gru", {}, 2)
    steps = rows_of(length=8).steps
    found = follow(model, params, steps, 3)
    whole = follow(model, params, steps, 0)
    for later, path in zip((*found.layers, found.whole), (*whole.layers, whole.whole), strict=True):
        assert (later.lags, len(later.states)) == (5, 6)
        for a, b in zip(state_arrays(later.states[0]), state_arrays(path.states[3]), strict=True):
            assert torch.equal(a, b)
        assert torch.equal(later.projected, path.projected[3:])


@pytest.mark.parametrize("context_size", [0, 2])
def test_the_states_followed_are_those_that_the_model_reads_with(context_size):
    """A learned initial state, the counts of `length`, a deep input and what a text is given among them."""
    model, params = random_model(
        "lstm", {"input_depth": 2}, 2, initial_state="learned", stops=("length",), length_scale=9.0
    )
    text = rows_of(stop="length")
    if context_size:
        model = LanguageModel(replace(model.config, context_size=context_size))
        params = random_params(model.shapes, scale=0.8)
        text = replace(text, steps=text.steps._replace(context=np.array([[1.0, 0.0], [0.0, -2.0]])))
    context = text.steps.context
    assert (text.steps.remaining != ABSENT).any()
    _, final = model.read(params, text.steps, model.initial_state(params, len(TEXTS), context))
    found = follow(model, params, text.steps, 0).whole.states[-1]
    for ours, theirs in zip(state_arrays(found), state_arrays(final), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


def test_a_slope_is_of_the_longer_half():
    values = np.concatenate([[7.0, -3.0, 5.0], 2.0 - 0.25 * np.arange(3)])
    assert slope(values) == pytest.approx(-0.25, rel=1e-9)
    assert slope(values[:2]) is None
    assert slope(np.array([0.0, 1.0, -np.inf, 2.0])) is None


def test_a_model_without_a_state_is_refused():
    for layers in (1, 2):
        model, params = random_model("output_recurrent", {}, layers)
        with pytest.raises(ValueError, match="carries no state"):
            require_state(model)
        with pytest.raises(ValueError, match="carries no state"):
            through_time(model, params, rows_of(), data="text")
    require_state(random_model("output_recurrent", {"feedback": "output"}, 1)[0])


# Spectra ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [spectra.MOST_UNITS, 4])
def test_a_spectrum_has_the_eigenvalues_that_were_planted(most, monkeypatch):
    """A rotation by 0.9 e^(±0.5i), and real ones, in a basis that is not orthogonal."""
    monkeypatch.setattr(spectra, "MOST_UNITS", most)
    c, s = 0.9 * math.cos(0.5), 0.9 * math.sin(0.5)
    planted = np.zeros((5, 5))
    planted[:2, :2], planted[2:, 2:] = [[c, -s], [s, c]], np.diag([-0.6, 0.3, 0.1])
    P = np.random.default_rng(1).normal(size=(5, 5))
    W = P @ planted @ np.linalg.inv(P)
    found = spectrum("W", W)
    assert found.radius == pytest.approx(0.9, rel=1e-9)
    assert found.radius == pytest.approx(np.abs(np.linalg.eigvals(W)).max(), rel=1e-12)
    assert found.norm == pytest.approx(np.linalg.svd(W)[1][0], rel=1e-12)
    if most == 4:
        assert found.eigenvalues is None
    else:
        assert found.eigenvalues is not None
        ordered = [*sorted(found.eigenvalues[:2]), *found.eigenvalues[2:]]
        expected = [(c, -s), (c, s), (-0.6, 0.0), (0.3, 0.0), (0.1, 0.0)]
        np.testing.assert_allclose(ordered, expected, rtol=0, atol=1e-9)


NAMES = {
    "tanh": ["W"],
    "leaky": ["W", "α + (1−α) W"],
    "echo_state": ["W", "α + (1−α) W"],
    "skip": ["W_1", "W_5"],
    "lstm": ["W_i", "W_f", "W_g", "W_o"],
    "peephole_lstm": ["W_i", "W_f", "W_g", "W_o"],
    "layer_norm_lstm": ["W_i", "W_f", "W_g", "W_o"],
    "coupled_lstm": ["W_f", "W_g", "W_o"],
    "gru": ["W_r", "W_z", "W_n"],
    "min_gru": [],
    "min_lstm": [],
    "time_delay": [],
    "output_recurrent": [],
}


@pytest.mark.parametrize(("cell", "options"), CELL_CASES)
def test_every_cell_has_its_matrices_by_name_and_words_for_them(cell, options):
    H = 3
    built = make_cell(cell, 2, H, options)
    found = recurrent_matrices(built, random_params(built.shapes))
    if not options:
        assert list(found) == NAMES[cell]
    assert all(matrix.shape[0] == matrix.shape[1] for matrix in found.values())
    assert meaning_of_spectrum(built)
    assert ("no matrix" in meaning_of_spectrum(built)) <= (not found)


@pytest.mark.parametrize(
    ("cell", "gate", "part"),
    [
        ("lstm", "W_i", 0),
        ("lstm", "W_f", 1),
        ("lstm", "W_o", 3),
        ("gru", "W_z", 1),
        ("gru", "W_n", 2),
        ("coupled_lstm", "W_g", 1),
    ],
)
def test_a_gates_block_is_its_rows_of_the_weights(cell, gate, part):
    built = make_cell(cell, 2, 3)
    params = random_params(built.shapes)
    expected = params["weight_hh"][3 * part : 3 * part + 3]
    np.testing.assert_array_equal(recurrent_matrices(built, params)[gate], expected)


@pytest.mark.parametrize(
    ("cell", "options"), [("leaky", {"leak_alpha": "0.2:0.9"}), ("leaky", {"leak_alpha": "learned"}), ("tanh", {})]
)
def test_the_last_matrix_of_an_ungated_cell_is_its_jacobian_at_rest(cell, options):
    built = make_cell(cell, 1, 3, options)
    params = random_params(built.shapes) | {"bias": np.zeros(3)}
    matrix = list(recurrent_matrices(built, params).values())[-1]
    h = 1e-6 * np.eye(3)
    like = built.zero_state(3, np.zeros(1))
    moved, _ = built.step(params, np.zeros((3, 3)), map_state(lambda _: h, like))
    np.testing.assert_allclose(moved.T / 1e-6, matrix, rtol=0, atol=1e-6)


# Texts -----------------------------------------------------------------------------------------------------


def shown(text: Excerpts) -> list[str]:
    """The rows as characters; ^ is BOS, ? is nothing."""
    return ["".join("ab^?"[i] for i in row) for row in text.steps.inputs.T]


def stream(rows: int, length: int | None, texts: list[str], stop: StopName = "eos") -> Excerpts:
    return excerpts(corpus(texts), VOCABULARY, order="ordered", stop=stop, rows=rows, length=length, name="text")


def test_rows_of_a_stream_end_equal_parts_of_it_with_what_stands_before_them_as_warm_up():
    text = stream(2, 4, ["abab", "bbaa", "a"])  # ^abab ^bbaa ^a: twelve steps, six a part.
    assert (text.warm_up, text.length) == (2, 4)
    assert shown(text) == ["^abab^", "?baa^a"], "a row that begins inside a sequence sees nothing before it"
    assert stream(1, 12, ["abab", "bbaa", "a"]).warm_up == 0
    assert shown(stream(1, 3, ["abab"], "none"))[0] == "^abab"


def test_warm_up_is_bounded():
    text = stream(1, 5, ["ab" * 2 * WARM_UP])
    assert (text.warm_up, len(text.steps.inputs)) == (WARM_UP, WARM_UP + 5)


def test_rows_of_independent_sequences_are_beginnings_of_long_ones():
    texts = ["a", "bb", "abab", "b", "bbba", "aa"]
    found = excerpts(corpus(texts), VOCABULARY, order="independent", stop="eos", rows=2, length=None, name="t")
    assert (found.length, found.warm_up, shown(found)) == (5, 0, ["^abab", "^bbba"])
    found = excerpts(corpus(texts), VOCABULARY, order="independent", stop="length", rows=1, length=6, name="t")
    assert shown(found) == ["^^abab"], "τ is announced first"


def test_the_usual_length_is_a_hundred():
    assert rows_of([t * 30 for t in TEXTS], length=None).length == 100  # type: ignore[arg-type]
    assert stream(2, None, ["ab" * 400]).length == 100


def test_rows_that_were_not_asked_for_are_as_many_as_there_are():
    few = ["abab", "bbba"]
    for order, rows, length in (("independent", 2, 5), ("ordered", 1, 10)):
        found = excerpts(corpus(few), VOCABULARY, order=order, stop="eos", rows=None, length=None, name="t")
        assert (found.steps.inputs.shape[1], found.length) == (rows, length)
    found = excerpts(corpus(few), VOCABULARY, order="ordered", stop="eos", rows=None, length=3, name="t")
    assert found.steps.inputs.shape[1] == 3
    many = ["ab" * 300] * 9
    found = excerpts(corpus(many), VOCABULARY, order="ordered", stop="eos", rows=None, length=None, name="t")
    assert (found.steps.inputs.shape[1], found.length) == (4, 100)


@pytest.mark.parametrize(
    ("texts", "order", "rows", "length", "words"),
    [
        (["abab", "bb"], "ordered", 2, 5, "its 8 steps are too few for 2 rows of 5; give --length 4 at most"),
        (["a"], "ordered", 4, None, "give --rows 2 at most"),
        (["abab", "bb"], "independent", 2, 4, "only 1 of its 2 independent sequences"),
        (["abab", "bb"], "independent", 3, None, "only 2 sequences to read, not 3; give --rows 2"),
    ],
)
def test_a_text_that_is_too_short_says_what_it_has(texts, order, rows, length, words):
    with pytest.raises(CorpusError, match="^text: .*" + words):
        excerpts(corpus(texts), VOCABULARY, order=order, stop="eos", rows=rows, length=length, name="text")
