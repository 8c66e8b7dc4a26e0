"""Starting a model from another one's weights: `--init-from`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from charrnn.cells import CELLS, START_OPTIONS, option_names
from charrnn.cells.arrays import Params
from charrnn.config import DEPTHS, flag
from charrnn.corpus.vocabulary import Vocabulary
from charrnn.errors import CheckpointError
from charrnn.models.language_model import LanguageModel
from charrnn.models.layers import EMBEDDING
from charrnn.models.store import ModelConfig, SavedModel

BY_SYMBOL = ("readout.weight", "readout.bias")

MOST_SHOWN = 30
"""Characters that a note lists."""

SHAPE = ("cell", "hidden_size", "num_layers", "embedding_size", *DEPTHS)


def transfer(fresh: Params, config: ModelConfig, vocabulary: Vocabulary, saved: SavedModel) -> Params:
    """Fresh parameters replaced by the saved ones, matched by character where they belong to one.

    What the saved model lacks (a character, a head that ends sequences, a context of the same columns) keeps its
    fresh values. Raises CheckpointError if the two models differ in more than that.
    """
    model = LanguageModel(config)
    ours, theirs = config, saved.config
    same_context = [(c.name, c.values) for c in ours.columns] == [(c.name, c.values) for c in theirs.columns]
    _refuse_other(_shape(ours), _shape(theirs))
    if model.layers[-1].gives_logits and (model.shapes, vocabulary) != (saved.model.shapes, saved.vocabulary):
        raise CheckpointError(f"a model with --cell {ours.cell} can only start from one of the same characters")
    there_ids = saved.vocabulary.table(vocabulary.code_points)
    here = np.flatnonzero(there_ids != saved.vocabulary.unknown)
    there_ids = there_ids[here]
    result = dict(fresh)
    for name, theirs_value in saved.params.items():
        if name not in result or (name.startswith("context.") and not same_context):
            continue
        value = result[name].copy()
        if name == EMBEDDING:
            value[here] = theirs_value[there_ids]
            value[vocabulary.bos] = theirs_value[saved.vocabulary.bos]
        elif name == model.input_weight:
            size, their_size = model.symbol_size, saved.model.symbol_size
            if ours.embedding_size:
                value[:, :size] = theirs_value[:, :size]
            else:
                value[:, here] = theirs_value[:, there_ids]
                value[:, vocabulary.bos] = theirs_value[:, saved.vocabulary.bos]
            counts, their_counts = value[:, size:], theirs_value[:, their_size:]
            if counts.shape == their_counts.shape:
                counts[:] = their_counts
        elif name in BY_SYMBOL:
            value[here] = theirs_value[there_ids]
            for stop, ending in model.endings.items():
                if ending.symbol is not None and stop in theirs.stop:
                    value[ending.symbol] = theirs_value[saved.model.endings[stop].symbol]
        else:
            value = theirs_value.copy()
        result[name] = value
    return result


def parent_settings(saved: ModelConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a run takes over from the model that it begins with: shape, endings, and how the text is read.

    given: the settings of the run itself, which win. Raises CheckpointError for those that the model cannot have.
    """
    _refuse_other(given, _shape(saved))
    is_table = "context" in given or "text_column" in given
    reading = () if is_table else ("order",) if "split_on" in given else ("split", "order")
    names = (*SHAPE, "initial_state", "stop", *reading)
    found = {name: getattr(saved, name) for name in names}
    if found.get("split") == "mark" and "split" not in given:
        found["split_on"] = saved.separator
    # Only these: a checkpoint from a stranger must not set anything else.
    found |= {name: saved.cell_options[name] for name in option_names(saved.cell) if name in saved.cell_options}
    return {name: value for name, value in found.items() if name not in given}


def alphabet_note(parent: str, theirs: Vocabulary, ours: Vocabulary) -> str:
    """How the characters of a training text differ from those of the model that it is read with."""
    new, absent = set(ours.symbols) - set(theirs.symbols), set(theirs.symbols) - set(ours.symbols)
    words = f"the alphabet is that of {parent}, {theirs.size:,} characters"
    if new:
        words += f", and {len(new):,} new, which begin untrained: {_shown(new)}"
    if absent:
        words += f"; {len(absent):,} of {parent} are not in the training text: {_shown(absent)}"
    return words


def _shown(characters: set[str]) -> str:
    more = len(characters) - MOST_SHOWN
    return repr("".join(sorted(characters)[:MOST_SHOWN])) + (f" and {more:,} more" if more > 0 else "")


def _shape(config: ModelConfig) -> dict[str, Any]:
    """The settings that must be equal in a model and the one that it starts from."""
    names = sorted(set(option_names(config.cell)) - set(START_OPTIONS))
    usual = {name: CELLS[config.cell].__dataclass_fields__[name].default for name in names}
    return {name: getattr(config, name) for name in SHAPE} | {
        name: config.cell_options.get(name, usual[name]) for name in names
    }


def _refuse_other(asked: Mapping[str, Any], there: Mapping[str, Any]) -> None:
    """Raises CheckpointError, which names every setting that differs."""
    other = [name for name in there if name in asked and asked[name] != there[name]]
    if other:
        ours, theirs = (" ".join(f"{flag(name)} {shape[name]}" for name in other) for shape in (asked, there))
        raise CheckpointError(f"cannot begin with a model of {theirs}: this one has {ours}; leave that out")
