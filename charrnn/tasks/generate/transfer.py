"""Starting a model from another one's weights: `--init-from`."""

import numpy as np

from charrnn.cells import CELLS, START_OPTIONS, option_names
from charrnn.cells.arrays import Params
from charrnn.config import DEPTHS
from charrnn.corpus.vocabulary import Vocabulary
from charrnn.errors import CheckpointError
from charrnn.models.language_model import LanguageModel
from charrnn.models.layers import EMBEDDING
from charrnn.models.store import ModelConfig, SavedModel

BY_SYMBOL = ("readout.weight", "readout.bias")

SHAPE = ("cell", "hidden_size", "num_layers", "embedding_size", *DEPTHS)
"""Settings that must be equal in a model and the one that it starts from."""


def transfer(fresh: Params, config: ModelConfig, vocabulary: Vocabulary, saved: SavedModel) -> Params:
    """Fresh parameters replaced by the saved ones, matched by character where they belong to one.

    What the saved model lacks (a character, a head that ends sequences, a context of the same columns) keeps its
    fresh values. Raises CheckpointError if the two models differ in more than that.
    """
    model = LanguageModel(config)
    ours, theirs = config, saved.config
    same_context = [(c.name, c.values) for c in ours.columns] == [(c.name, c.values) for c in theirs.columns]
    for name in SHAPE:
        _refuse_other(name, getattr(ours, name), getattr(theirs, name))
    for name in set(option_names(ours.cell)) - set(START_OPTIONS):
        usual = CELLS[ours.cell].__dataclass_fields__[name].default
        _refuse_other(name, ours.cell_options.get(name, usual), theirs.cell_options.get(name, usual))
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


def _refuse_other(name: str, asked: object, there: object) -> None:
    if asked != there:
        flag = "--" + name.replace("_", "-")
        raise CheckpointError(
            f"cannot start from a model with {flag} {there}: this one has {asked}; give {flag} {there}"
        )
