"""Unfolding in time: gradients of shared parameters, truncation, and the graph as the book draws it."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from helpers_cli import fail, imported_by, run_code, succeed
from helpers_models import (
    CELL_CASES,
    alphabet_of,
    as_torch,
    each_cell,
    make_model,
    random_params,
    reader_of,
    steps_to_torch,
    whole_steps,
)

from charrnn.cells import CELLS
from charrnn.cells.cell import map_state
from charrnn.corpus.batching import batch_source
from charrnn.corpus.steps import Steps
from charrnn.study.drawing import LINES, draw
from charrnn.study.unfold import Unfolded, unfold
from charrnn.tasks.generate.learner import GenerateLearner

TEXT = "abbabaa"
STEPS = len(TEXT) + 1
VOCABULARY = alphabet_of(2)


def text_steps() -> Steps:
    return steps_to_torch(whole_steps([TEXT], "eos", VOCABULARY))


def some_steps(steps: Steps, begin: int, end: int) -> Steps:
    return Steps(*(array[begin:end] for array in steps[:4]), steps.stops)


def shared_gradients(model: Any, params: Any) -> dict[str, torch.Tensor]:
    """Of the whole text's nll, by the path that training takes."""
    tensors, steps = as_torch(params), text_steps()
    hidden, _ = model.read(tensors, steps, model.initial_state(tensors, 1))
    model.nll(tensors, hidden, steps).sum().backward()
    return {name: tensors[name].grad for name in params if name not in model.frozen}


@each_cell
def test_gradients_of_a_copy_for_each_step_add_up_to_those_of_the_shared_parameters(cell, options):
    """The feed-forward graph: step t has parameters of its own, used once."""
    model = make_model(cell, options)
    params, steps = random_params(model.shapes, scale=0.5), text_steps()
    copies = [as_torch(params) for _ in range(STEPS)]
    (state,) = model.initial_state(copies[0], 1)
    nll = torch.zeros((), dtype=torch.float64)
    for t, copy in enumerate(copies):
        x = model.inputs(copy, steps.inputs[t], None, None)
        layer = model.stack.params(copy)[0]
        output, state = model.layers[0].step(layer, model.layers[0].project(layer, x), state)
        nll = nll + model.nll(copy, output[None], some_steps(steps, t, t + 1)).sum()
    nll.backward()
    for name, expected in shared_gradients(model, params).items():
        alone = [torch.zeros_like(expected) if copy[name].grad is None else copy[name].grad for copy in copies]
        torch.testing.assert_close(sum(alone), expected, rtol=1e-10, atol=1e-12)
        if expected.abs().max() > 0:
            assert not all(torch.allclose(part, alone[0]) for part in alone[1:]), name


def truncated_gradients(model: Any, params: Any, window: int) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients over the text as it is trained on, in windows between which the state is detached."""
    source = batch_source(
        reader_of([TEXT], VOCABULARY), "independent", ("eos",), batch_size=1, window=window, seed=0
    )
    learner = GenerateLearner(
        model, params, source, None, order="ordered", dropout=0.0, seed=0, device=torch.device("cpu")
    )
    total = 0.0
    for step in range(STEPS // window):
        nats, _, _ = learner.next_loss(step, 0.0)
        nats.backward()
        total += nats.item()
    return total, {name: value.grad for name, value in learner.parameters.items() if name not in model.frozen}


RECURRENT = [
    case
    for case in CELL_CASES
    if case[0] not in ("echo_state", "time_delay") and case not in [("output_recurrent", {}), ("skip", {})]
]
"""Those whose trained parameters act through states of up to four steps before."""


@pytest.mark.parametrize(("cell", "options"), CELL_CASES)
def test_a_window_that_holds_the_sequence_truncates_nothing(cell, options):
    model = make_model(cell, options)
    params = random_params(model.shapes, scale=0.5)
    _, found = truncated_gradients(model, params, STEPS)
    for name, expected in shared_gradients(model, params).items():
        torch.testing.assert_close(found[name], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("cell", "options"), RECURRENT)
def test_a_shorter_window_cuts_the_gradient_and_not_the_state(cell, options):
    model = make_model(cell, options)
    params = random_params(model.shapes, scale=0.5)
    whole, full = truncated_gradients(model, params, STEPS)
    for window in (4, 2):
        total, cut = truncated_gradients(model, params, window)
        assert total == pytest.approx(whole, rel=1e-12)
        assert not torch.allclose(cut["layers.0.weight_ih"], full["layers.0.weight_ih"], rtol=1e-6)
        pieces, steps = as_torch(params), text_steps()
        state = model.initial_state(pieces, 1)
        for begin in range(0, STEPS, window):
            part = some_steps(steps, begin, begin + window)
            hidden, state = model.read(pieces, part, state)
            model.nll(pieces, hidden, part).sum().backward()
            state = tuple(map_state(lambda array: array.detach(), layer) for layer in state)
        for name, gradient in cut.items():
            torch.testing.assert_close(gradient, pieces[name].grad, rtol=1e-10, atol=1e-12)


def graph(cell: str, steps: int = 3, **options: Any) -> Unfolded:
    return unfold(make_model(cell, options), steps)


def edges(unfolded: Unfolded) -> dict[str, str]:
    """`source -> target` to label, without what every model has: the readout, targets and losses."""
    return {
        f"{edge.source} {edge.target}": " ".join([*edge.symbols, *([edge.passing] if edge.passing else [])])
        for edge in unfolded.edges
        if edge.target[0] not in "oL"
    }


def at_each_step(*templates: str, steps: int = 3) -> dict[str, str]:
    """`x h U` stands for x(t) -> h(t) by U, `h1 h W` for h(t − 1) -> h(t) by W."""
    found = {}
    for t in range(1, steps + 1):
        for template in templates:
            source, target, label = template.split(" ", 2)
            before = t - int(source[1:] or 0)
            if before > 0 or source[0] not in "xy":
                found[f"{source[0]}({before}) {target}({t})"] = label
    return found


LSTM_EDGES = ("x c U", "x h U", "h1 c W", "h1 h W")
"""Input and earlier state reach the memory, and the output by its gate."""


@pytest.mark.parametrize(
    ("cell", "options", "templates"),
    [
        ("tanh", {}, ("x h U", "h1 h W")),  # Figure 10.3.
        ("echo_state", {}, ("x h U", "h1 h W")),
        ("echo_state", {"leak_alpha": "0.3"}, ("x h U", "h1 h W share")),
        ("leaky", {}, ("x h U", "h1 h W share")),
        ("lstm", {}, (*LSTM_EDGES, "c1 c gate", "c h gate")),  # Figure 10.16.
        ("coupled_lstm", {}, (*LSTM_EDGES, "c1 c gate", "c h gate")),
        ("peephole_lstm", {}, (*LSTM_EDGES, "c1 c p gate", "c h p gate")),
        ("gru", {}, ("x h U", "h1 h W gate")),
        ("gru", {"reset_gate": "before"}, ("x h U", "h1 h W gate")),
        ("min_gru", {}, ("x h U", "h1 h gate")),
        ("min_lstm", {}, ("x h U", "h1 h gate")),
        ("skip", {}, ("x h U", "h1 h W₁", "h5 h W₅")),
        ("skip", {"skip_delay": "2,3", "remove_short": True}, ("x h U", "h2 h W₂", "h3 h W₃")),
        ("output_recurrent", {"feedback": "output"}, ("x h U", "o1 h W")),  # Figure 10.4.
        ("output_recurrent", {}, ("x h U", "y1 h W")),  # Figure 10.6.
        ("time_delay", {"delay_levels": 1}, ("x h U₀", "x1 h U₁")),
        ("time_delay", {"delay_levels": 2}, ("x h U₀ A_2", "x1 h U₁ A_2", "x2 h U₀ A_2 A'_2", "x3 h U₁ A_2 A'_2")),
    ],
)
@pytest.mark.parametrize("steps", [1, 3, 6])
def test_the_edges_are_those_of_the_book(cell, options, templates, steps):
    assert edges(graph(cell, steps, **options)) == at_each_step(*templates, steps=steps)


@each_cell
def test_readout_targets_and_losses_are_at_every_step(cell, options):
    found = graph(cell, **options)
    others = [(edge.source, edge.target, edge.symbols) for edge in found.edges if edge.target[0] in "oL"]
    assert sorted(others) == sorted(
        edge
        for t in (1, 2, 3)
        for edge in [(f"h({t})", f"o({t})", ("V",)), (f"o({t})", f"L({t})", ()), (f"y({t})", f"L({t})", ())]
    )
    names = {node.name for node in found.nodes}
    assert len(names) == len(found.nodes)
    assert names == {end for edge in found.edges for end in (edge.source, edge.target)}


@each_cell
def test_every_parameter_has_its_shape_and_acts_at_every_step_that_it_can_reach(cell, options):
    model = make_model(cell, options)
    found = {shared.name: shared for shared in unfold(model, 64).parameters}
    assert {
        f"{'' if n.startswith('readout') else 'layers.0.'}{n}": s.shape for n, s in found.items()
    } == model.shapes
    reached = {name for edge in unfold(model, 64).edges for name in edge.parameters}
    for name, shared in found.items():
        assert (name in reached) != ("bias" in name)
        assert shared.times >= 64 - 16
        assert shared.trained == (f"layers.0.{name}" not in model.frozen)
        assert shared.symbols[0][0] in "UWVbcdpaγA"


def test_a_new_cell_draws_itself(monkeypatch):
    """One that multiplies what it reads by what it remembers: neither acts where the other is zero."""

    class Multiplying(CELLS["tanh"]):
        """h(t) = tanh(b + U x(t) ∘ W h(t−1)). U = `weight_ih`."""

        def project(self, params, x):
            return x @ params["weight_ih"].T

        def step(self, params, projected, state):
            h = np.tanh(params["bias"] + projected * (state.h @ params["weight_hh"].T))
            return h, type(state)(h)

    model = make_model("tanh")
    monkeypatch.setitem(CELLS, "tanh", Multiplying)
    assert set(edges(unfold(model, 2))) == {"x(1) h(1)", "h(0) h(1)", "x(2) h(2)", "h(1) h(2)"}
    by = {edge.source[0]: edge.parameters for edge in unfold(model, 2).edges if edge.target == "h(2)"}
    assert "weight_ih" in by["x"]
    assert "weight_hh" in by["h"]


TANH_DRAWING = """\
                  y(1)              y(2)              y(3)
                   ↓                 ↓                 ↓
                  L(1)              L(2)              L(3)
                   ↑                 ↑                 ↑
                  o(1)              o(2)              o(3)
                 V ↑               V ↑               V ↑
h(0) ╶───────W──→ h(1) ╶───────W──→ h(2) ╶───────W──→ h(3)
                 U ↑               U ↑               U ↑
                  x(1)              x(2)              x(3)"""
OUTPUT_DRAWING = """\
                  y(1)              y(2)              y(3)
                   ↓                 ↓                 ↓
                  L(1)              L(2)              L(3)
                   ↑                 ↑                 ↑
o(0)              o(1)              o(2)              o(3)
   │             V ↑ │             V ↑ │             V ↑
   └───────────W───┼┐└───────────W───┼┐└───────────W───┼┐
                   │↓                │↓                │↓
                  h(1)              h(2)              h(3)
                 U ↑               U ↑               U ↑
                  x(1)              x(2)              x(3)"""


def test_the_drawings_of_figures_10_3_and_10_4():
    assert draw(graph("tanh"), 80).lines == TANH_DRAWING.splitlines()
    assert draw(graph("output_recurrent", feedback="output"), 80).lines == OUTPUT_DRAWING.splitlines()


@each_cell
def test_three_steps_fit_80_columns_and_show_every_node_once(cell, options):
    found = graph(cell, **options)
    drawing = draw(found, 80)
    assert drawing.steps == 3
    assert max(map(len, drawing.lines)) <= 80
    words = "\n".join(drawing.lines)
    for node in found.nodes:
        assert words.count(node.name) == (node.time >= 0)
    for by in found.connections:
        if by.symbols and by not in drawing.beyond:
            assert words.count(by.symbols[0]) >= 3 - by.delay


def test_no_line_of_a_drawing_ends_in_nothing():
    """Every line goes on at each place, or touches a node, a label or an arrow."""
    for cell, options in CELL_CASES:
        lines = draw(graph(cell, **options), 80).lines
        there = {(x, y): c for y, line in enumerate(lines) for x, c in enumerate(line) if c != " "}
        for (x, y), c in there.items():
            bits = LINES.find(c)
            for bit, step in ((1, (0, -1)), (2, (0, 1)), (4, (-1, 0)), (8, (1, 0))):
                if bits > 0 and bits & bit:
                    assert (x + step[0], y + step[1]) in there, (cell, options, x, y, c)


def test_steps_beyond_the_width_are_left_out():
    drawing = draw(graph("lstm", 12), 80)
    assert 3 <= drawing.steps < 12
    assert max(map(len, drawing.lines)) <= 80
    assert draw(graph("lstm", 12), 10_000).steps == 12


def test_what_reaches_beyond_the_drawing_is_named():
    assert [by.delay for by in draw(graph("skip"), 80).beyond] == [5]
    assert "h(t−5)" in succeed("study", "unfold", "--cell", "skip").stdout


def test_the_command_draws_and_says_where_parameters_are_shared():
    shown = succeed("study", "unfold", "--cell", "tanh").stdout
    assert TANH_DRAWING in shown
    rows = [line.split() for line in shown.splitlines() if line.startswith(("weight", "readout"))]
    assert ["weight_ih", "U", "384", "x", "66", "3", "times"] in rows
    assert ["readout.weight", "V", "66", "x", "384", "3", "times"] in rows
    assert "\x1b" not in shown
    assert "3 times, fixed" in succeed("study", "unfold", "--cell", "echo_state").stdout


def test_the_graph_as_json():
    found = json.loads(succeed("study", "unfold", "--cell", "lstm", "--steps", "2", "--json").stdout)
    assert {node["name"] for node in found["nodes"]} >= {"x(1)", "h(0)", "c(0)", "c(2)", "o(2)", "L(1)", "y(2)"}
    assert {
        "source": "h(1)",
        "target": "c(2)",
        "symbols": ["W"],
        "parameters": ["weight_hh"],
        "passing": None,
    } in (found["edges"])
    assert found["parameters"][0] == {
        "symbols": ["U"], "name": "weight_ih", "shape": [1536, 66], "times": 2, "trained": True,
    }  # fmt: skip


def test_options_that_a_cell_lacks_are_refused():
    assert "--cell tanh" in fail(2, "study", "unfold", "--cell", "tanh", "--skip-delay", "3")
    assert "skip_delay" in fail(2, "study", "unfold", "--cell", "skip", "--skip-delay", "1")


def test_no_torch_is_imported():
    assert "torch" not in imported_by(run_code("study", "unfold", "--cell", "lstm"))
