"""Human-readable descriptions of encoder-decoders and their results."""

from collections.abc import Iterator

from charrnn.config import TrainConfig
from charrnn.models.store import ModelConfig
from charrnn.tasks.rows.words import commands, last_facts, no_rival, pair_words
from charrnn.tasks.transduce.evaluate import TransduceReport
from charrnn.words import Block, count, figure, percent, shape

__all__ = ["commands", "data_words", "model_words", "rival", "shown"]

data_words, rival = pair_words, no_rival


def model_words(config: TrainConfig | ModelConfig, num_parameters: int) -> str:
    read = "no attention" if config.attention == "none" else f"{config.attention} attention"
    size = f"{count(num_parameters, 'parameter')} (--stop {' '.join(config.stop)})"
    what = shape(config.cell, config.num_layers, config.hidden_size)
    return f"{what} twice, {read}, context {config.context_mode}, {size}"


def shown(report: TransduceReport, *, verbose: bool) -> Iterator[Block]:
    found = report.figures
    how = "greedy" if report.beam == 1 else f"beam {report.beam}, length penalty {report.length_penalty:g}"
    facts = [
        ("Model", f"{report.run}, step {report.step:,}: {report.model}, --stop {report.stop}"),
        ("Inputs", f"{report.data}: {found.num_inputs:,} with {found.num_references:,} outputs; {how}"),
        ("Likelihood", f"{figure(report.loss)} nats/symbol, the ending included"),
        ("Exact", f"{percent(found.exact_match)} (word error rate {percent(found.word_error_rate)})"),
        ("Symbols", f"{percent(found.symbol_error_rate)} error rate, edits a symbol of the nearest output"),
    ]
    if report.num_cut:
        facts.append(("Cut", f"{count(report.num_cut, 'output')} went on for too long"))
    facts += [("Note", note) for note in report.notes]
    yield facts + last_facts(report, f"{report.inputs_per_second:,.0f} inputs/s", verbose=verbose)
