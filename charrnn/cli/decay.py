"""How gradients fall with the lag: tables and a chart on a terminal, or a picture."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from charrnn.cli.picture import new_figure, save
from charrnn.cli.terminal import print_facts, print_table
from charrnn.words import count

if TYPE_CHECKING:
    from rich.console import Console

    from charrnn.study.through_time import Decay, ThroughTime

LAGS = tuple(digit * 10**power for power in range(6) for digit in (1, 2, 5))
MOST_LAGS = 7
"""The most columns of lags in the table."""
CHART_ROWS, CHART_COLUMNS = 11, 64
MARKS = "123456789abcdefghijklmnopqrstuvwxyz"
"""The marks of the layers in the chart."""
MOST_ORDERS = 99
"""The most orders of magnitude that a table prints."""


def print_report(where: "Console", report: "ThroughTime", *, verbose: bool) -> None:
    """Prints the model and text, norms against lags, a chart of them, and a line for each layer and each matrix.

    If `verbose`, prints the eigenvalues of matrices that are not too large as well.
    """
    trained = f"of {report.run}, step {report.step:,}" if report.step is not None else "not trained"
    warm_up = f" after {report.warm_up:,} of warm-up" if report.warm_up else " from the initial state"
    rows = f"{count(report.rows, 'row')} of {count(report.length, 'step')}{warm_up}"
    print_facts(where, [("Model", f"{report.model}, {trained}"), ("Text", f"{report.data}: {rows}")])
    where.print()
    lags = some_lags(report.length)
    heads = ("NORM AT LAG", *(f"{lag:,}" for lag in lags))
    print_table(where, heads, ((name, *(_norm(d.norms[lag - 1]) for lag in lags)) for name, d in _curves(report)))
    where.print()
    for line in chart([layer.own.norms for layer in report.layers]):
        where.print(line, soft_wrap=True)
    where.print()
    heads = ("LAYER", "STATE", "RATE", "LYAPUNOV", "STRETCH", "LEAST", "MOST")
    print_table(
        where,
        heads,
        (
            (
                str(layer.layer),
                f"{layer.state_size:,}",
                _number(layer.own.rate),
                _number(layer.lyapunov),
                *(_number(x) for x in (layer.stretch.mean, layer.stretch.least, layer.stretch.most)),
            )
            for layer in report.layers
        ),
    )
    matrices = [(layer.layer, matrix) for layer in report.layers for matrix in layer.matrices]
    if matrices:
        where.print()
        print_table(
            where,
            ("LAYER", "MATRIX", "UNITS", "RADIUS", "LN RADIUS", "NORM"),
            (
                (str(n), m.matrix, f"{m.size:,}", _number(m.radius), _number(_log(m.radius)), _number(m.norm))
                for n, m in matrices
            ),
        )
    where.print()
    print_facts(where, _notes(report))
    if verbose:
        print_facts(
            where,
            (
                (f"{m.matrix} ({n})", " ".join(f"{re:.3f}{im:+.3f}i" for re, im in m.eigenvalues))
                for n, m in matrices
                if m.eigenvalues is not None
            ),
        )


def _notes(report: "ThroughTime") -> Iterator[tuple[str, str]]:
    yield "Norm", "Frobenius, of ∂h(T)/∂s(T − lag): output h, whole state s of a layer; mean over the rows"
    yield "Rate", "nats a step, the slope of ln norm over the longer half of the lags"
    yield "Lyapunov", "nats a step, ln σ(∂s(T)/∂s(0)) / T: below 0 a change of the state dies out"
    yield "Stretch", "σ(∂s(t)/∂s(t−1)), the most that one step stretches a change: mean, least, most"
    yield "Radius", report.layers[0].note


def some_lags(length: int) -> list[int]:
    """At most MOST_LAGS lags from 1, 2, 5, 10 … and the longest one."""
    lags = sorted({lag for lag in LAGS if lag < length} | {length})
    return lags if len(lags) <= MOST_LAGS else [lags[0], *lags[1 - MOST_LAGS :]]


def _curves(report: "ThroughTime") -> "Iterator[tuple[str, Decay]]":
    """The decay of each layer's output by its own state, and of the top layer's output by each lower state."""
    last = len(report.layers)
    for layer in report.layers:
        yield f"∂h{layer.layer}/∂s{layer.layer}", layer.own
        if layer.layer < last:
            yield f"∂h{last}/∂s{layer.layer}", layer.top


def _norm(value: float) -> str:
    if value == 0.0:
        return "0"
    if not math.isfinite(value) or math.log10(value) > MOST_ORDERS:
        return f">1e{MOST_ORDERS}"
    return f"{value:.1e}" if math.log10(value) >= -MOST_ORDERS else f"<1e-{MOST_ORDERS}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if math.isfinite(value) else ("−∞" if value < 0 else "∞")


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def chart(curves: Sequence[Sequence[float]]) -> list[str]:
    """A chart: log₁₀ of the norms upwards, lags to the right; each layer is drawn with its number.

    Empty if fewer than two values have a logarithm.
    """
    logs = [[math.log10(x) if 0.0 < x < math.inf else None for x in curve] for curve in curves]
    known = [x for curve in logs for x in curve if x is not None]
    length = len(curves[0])
    if len(known) < 2 or length < 2:
        return []
    low, high = math.floor(min(known)), math.ceil(max(known))
    high = max(high, low + 1)
    columns = min(CHART_COLUMNS, length)
    grid = [[" "] * columns for _ in range(CHART_ROWS)]
    for mark, curve in zip(MARKS, logs, strict=False):
        for column in range(columns):
            value = curve[round(column * (length - 1) / (columns - 1))]
            if value is not None:
                grid[round((high - value) / (high - low) * (CHART_ROWS - 1))][column] = mark
    lines = []
    for number, row in enumerate(grid):
        power = high - number * (high - low) / (CHART_ROWS - 1)
        label = f"{f'1e{power:+.0f}':>7}" if number % 5 == 0 and power == round(power) else " " * 7
        lines.append(f"{label} ┤{''.join(row)}".rstrip() if label.strip() else f"{label} │{''.join(row)}".rstrip())
    lines.append(" " * 8 + "└" + "─" * columns)
    lines.append(" " * 9 + "1" + f"lag {length:,}".rjust(columns - 1))
    return lines


def draw_decay(path: Path, report: "ThroughTime") -> None:
    """Draws norms against lags and, if there are any, the eigenvalues beside the unit circle.

    Raises as `charrnn.cli.picture` does.
    """
    drawn = [(layer.layer, m) for layer in report.layers for m in layer.matrices if m.eigenvalues is not None]
    figure = new_figure(figsize=(10.0 if drawn else 6.0, 4.5))
    axes = figure.add_subplot(1, 2 if drawn else 1, 1)
    lags = range(1, report.length + 1)
    for name, curve in _curves(report):
        shown = [x if 0.0 < x < math.inf else math.nan for x in curve.norms]
        axes.plot(lags, shown, label=name, marker="" if report.length > 1 else "o")
    axes.set_yscale("log")
    axes.set_xlabel("lag T − t, steps")
    axes.set_ylabel("‖∂h(T)/∂s(t)‖")
    axes.set_title(f"{report.model}, {'not trained' if report.run is None else report.run}")
    axes.legend()
    if drawn:
        plane = figure.add_subplot(1, 2, 2)
        for number, matrix in drawn:
            real, imaginary = zip(*matrix.eigenvalues or (), strict=True)
            plane.plot(real, imaginary, ".", markersize=3, label=f"{matrix.matrix}, layer {number}")
        angles = [math.tau * k / 200 for k in range(201)]
        plane.plot([math.cos(a) for a in angles], [math.sin(a) for a in angles], color="grey", linewidth=0.8)
        plane.set_aspect("equal", adjustable="datalim")
        plane.set_title("Eigenvalues, and the unit circle")
        plane.legend(fontsize="small")
    save(figure, path)
