"""The output of `charrnn study span`: a table, strict JSON, and a picture of success against span."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.cli.picture import new_figure, save
from charrnn.cli.terminal import console, print_facts, print_table

if TYPE_CHECKING:
    from charrnn.study.attempts import Design, Outcome, Trial
    from charrnn.study.problems import Problem
    from charrnn.study.sweep import Successes


def print_successes(
    problem: "Problem",
    labels: Sequence[str],
    spans: Sequence[int],
    cells: "Mapping[tuple[str, int], Successes]",
    chain: float | None,
) -> None:
    where = console(sys.stdout)
    rows: list[tuple[str, ...]] = []
    for label in labels:
        across = [cells[label, span] for span in spans]
        rows.append((label, *(_successes(cell) for cell in across)))
        rows.append(("  loss", *(_loss(cell.median_loss) for cell in across)))
    rows.append(("constant's loss", *[_loss(problem.baseline)] * len(spans)))
    print_table(where, ("DESIGN", *(f"SPAN {span:,}" for span in spans)), rows)
    if chain is not None:
        where.print()
        _print_chain(where, chain, spans)


def _successes(cell: "Successes") -> str:
    steps = "" if cell.median_steps is None else f" in {cell.median_steps:,.0f}"
    return f"{cell.solved}/{cell.attempts}{steps}"


def _loss(loss: float | None) -> str:
    return "diverged" if loss is None else f"{loss:.3f}" if loss >= 0.001 else f"{loss:.0e}"


def _print_chain(where: Any, wanted: float, spans: Sequence[int]) -> None:
    """Prints the variance that a feed-forward chain needs, and the result for one weight used repeatedly."""
    found = [_chain(wanted, span) for span in spans]
    rows = [
        ("each weight's variance", *(f"{item['weight_variance']:.4f}" for item in found)),
        ("n of them", *(f"{wanted:g}" for _ in found)),
        ("one, n times", *(f"10^{item['log10_repeated_variance']:.0f}" for item in found)),
    ]
    print_table(where, ("PRODUCT OF N WEIGHTS", *(f"n = {max(1, span):,}" for span in spans)), rows)
    note = "independent weights keep a variance that is chosen; a recurrent network has one weight, normal here"
    print_facts(where, [("Note", note)])


def _chain(wanted: float, span: int) -> dict[str, float]:
    from charrnn.study.remedies import chain_variance, log10_repeated_variance

    weights = max(1, span)
    variance = chain_variance(wanted, weights)
    return {
        "weights": weights,
        "weight_variance": variance,
        "product_variance": wanted,
        "log10_repeated_variance": log10_repeated_variance(variance, weights),
    }


def as_dict(
    problem: "Problem",
    designs: "Mapping[str, Design]",
    ordered: "Sequence[tuple[str, Trial, Outcome]]",
    cells: "Mapping[tuple[str, int], Successes]",
    spans: Sequence[int],
    steps: int,
    seeds: int,
    chain: float | None,
) -> dict[str, Any]:
    import msgspec

    return {
        "schema": "charrnn.study.span/1",
        "problem": problem.name,
        "baseline": problem.baseline,
        "solved_below": problem.solved_below,
        "spans": list(spans),
        "seeds": seeds,
        "steps": steps,
        "designs": [{"label": label, **msgspec.to_builtins(design)} for label, design in designs.items()],
        "summary": list(cells.values()),
        "attempts": [
            {"label": label, "span": trial.span, "seed": trial.seed, **msgspec.to_builtins(outcome)}
            for label, trial, outcome in ordered
        ],
        "chain": None if chain is None else [_chain(chain, span) for span in spans],
    }


def draw_successes(
    path: Path,
    problem: str,
    labels: Sequence[str],
    spans: Sequence[int],
    cells: "Mapping[tuple[str, int], Successes]",
) -> None:
    """Draws a line for each design: the share of its attempts that solved the problem, against the span.

    Raises UsageError for a file type that matplotlib cannot draw, CorpusError if the file cannot be written.
    """
    figure = new_figure(figsize=(6.4, 4.0))
    axes = figure.add_subplot()
    inside = sorted(spans)
    for number, label in enumerate(labels):
        share = [100.0 * cells[label, span].solved / cells[label, span].attempts for span in inside]
        axes.plot(
            range(len(inside)),
            share,
            label=label,
            marker="osD^vP*X"[number % 8],
            linestyle=("-", "--")[number % 2],
        )
    axes.set_xticks(range(len(inside)), [f"{span:,}" for span in inside])
    axes.set(
        xlabel=f"span of the dependencies, steps ({problem})", ylabel="attempts that solved it, %", ylim=(-4, 104)
    )
    axes.legend()
    save(figure, path)
