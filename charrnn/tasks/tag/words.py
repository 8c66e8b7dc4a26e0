"""Human-readable descriptions of taggers and their results."""

from collections.abc import Iterator

from charrnn.config import TrainConfig
from charrnn.models.store import ModelConfig
from charrnn.tasks.rows.words import DIRECTIONS, commands, last_facts, no_rival, pair_words
from charrnn.tasks.tag.evaluate import TagReport
from charrnn.words import Block, count, figure, percent, shape

__all__ = ["commands", "data_words", "model_words", "rival", "shown"]

data_words, rival = pair_words, no_rival


def model_words(config: TrainConfig | ModelConfig, num_parameters: int) -> str:
    assert isinstance(config, TrainConfig)
    edges = "output edges" if config.has_output_edges else "no output edges"
    what = shape(config.cell, config.num_layers, config.hidden_size)
    return f"{what}, read {DIRECTIONS[config.direction]}, {edges}, {count(num_parameters, 'parameter')}"


def shown(report: TagReport, *, verbose: bool) -> Iterator[Block]:
    found = report.figures
    how = "exact" if "no output edges" in report.model else "greedy" if report.beam == 1 else f"beam {report.beam}"
    inputs = f"{report.data}: {count(found.num_sequences, 'input')}, {count(found.num_symbols, 'symbol')}"
    per_output = report.nll / found.num_sequences if found.num_sequences else None
    yield [
        ("Model", f"{report.run}, step {report.step:,}: {report.model}"),
        ("Inputs", f"{inputs}; {how} search"),
        ("Likelihood", f"{figure(report.loss)} nats/symbol, {figure(per_output)} nats an output"),
        ("Symbols", f"{percent(found.symbol_accuracy)} right"),
        ("Words", f"{percent(found.word_accuracy)} right throughout, of {found.num_words:,}"),
        ("Whole", f"{percent(found.sequence_accuracy)} of the outputs right throughout"),
        *(("Note", note) for note in report.notes),
        *last_facts(report, f"{report.inputs_per_second:,.0f} inputs/s", verbose=verbose),
    ]
