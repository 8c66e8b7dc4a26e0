"""Turns a model of p(y | x) and one x into a plain model of p(y), which all code that draws text can use."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Params, tanh
from charrnn.models.language_model import CONTEXT, GeneratorConfig, LanguageModel
from charrnn.models.layers import EMBEDDING


def fix_context(model: LanguageModel, params: Params, x: npt.NDArray[np.floating]) -> tuple[LanguageModel, Params]:
    """The model without a context, and NumPy parameters with which it equals the model given x (X,).

    Exactly one symbol is read at every step, so R x is added to each symbol's column of U, or is the column of an
    extra embedding entry that is always 1; tanh(q + Q x) becomes a learned initial state. An unknown character is
    a zero input and would receive no R x, but text with such characters is never drawn, and is scored with its
    context as an input.
    """
    kept: dict[str, npt.NDArray[np.floating]] = dict(params)
    size = model.config.embedding_size
    if model.adds_context:
        U, effect = params[model.input_weight].copy(), (params[CONTEXT] @ x)[:, None]
        if size:
            U = np.concatenate([U[:, :size], effect, U[:, size:]], axis=1)
            embedding = params[EMBEDDING]
            kept[EMBEDDING] = np.concatenate([embedding, np.ones_like(embedding[:, :1])], axis=1)
            size += 1
        else:
            U[:, : model.num_input_symbols] += effect
        kept[model.input_weight] = U
    if model.starts_from_context:
        for name in params:
            if name.startswith("initial_state."):
                Q = params["context." + name.removeprefix("initial_state.") + ".weight"]
                kept[name] = tanh(params[name] + Q @ x)
    learned = "learned" if model.starts_from_context else model.config.initial_state
    config: GeneratorConfig = replace(model.config, context_size=0, initial_state=learned, embedding_size=size)
    plain = LanguageModel(config)
    return plain, {name: kept[name] for name in plain.shapes}
