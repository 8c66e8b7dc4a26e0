"""Starting a model from another one's weights: `--init-from`."""

import numpy as np

from charrnn.cells.arrays import Params
from charrnn.corpus.vocabulary import Vocabulary
from charrnn.errors import CheckpointError
from charrnn.models.language_model import LanguageModel
from charrnn.models.saved import SavedModel

INPUT = "layers.0.weight_ih"
BY_SYMBOL = ("readout.weight", "readout.bias")


def transfer(fresh: Params, model: LanguageModel, vocabulary: Vocabulary, saved: SavedModel) -> Params:
    """Fresh parameters with the saved ones in their place, matched by character where they belong to one.

    What the saved model lacks (a character, a head that ends sequences) stays as it was drawn. Raises
    CheckpointError when the two models differ in more than that.
    """
    ours, theirs = model.config, saved.model.config
    for flag, asked, there in (
        ("--cell", ours.cell, theirs.cell),
        ("--hidden-size", ours.hidden_size, theirs.hidden_size),
        ("--num-layers", ours.num_layers, theirs.num_layers),
    ):
        if asked != there:
            raise CheckpointError(
                f"cannot start from a model with {flag} {there}: this one has {asked}; give {flag} {there}"
            )
    if ours.cell_options.get("reset") != theirs.cell_options.get("reset"):
        raise CheckpointError("cannot start from a GRU that resets elsewhere; give the other --gru-reset")
    there_ids = saved.vocabulary.table(vocabulary.code_points)
    here = np.flatnonzero(there_ids != saved.vocabulary.unknown)
    there_ids = there_ids[here]
    result = dict(fresh)
    for name, theirs_value in saved.params.items():
        if name not in result:
            continue
        value = result[name].copy()
        if name == INPUT:
            value[:, here] = theirs_value[:, there_ids]
            value[:, vocabulary.bos] = theirs_value[:, saved.vocabulary.bos]
            counts, their_counts = value[:, vocabulary.bos + 1 :], theirs_value[:, saved.vocabulary.bos + 1 :]
            if counts.shape == their_counts.shape:
                counts[:] = their_counts
        elif name in BY_SYMBOL:
            value[here] = theirs_value[there_ids]
            if "eos" in ours.stop and "eos" in theirs.stop:
                value[vocabulary.eos] = theirs_value[saved.vocabulary.eos]
        else:
            value = theirs_value.copy()
        result[name] = value
    return result
