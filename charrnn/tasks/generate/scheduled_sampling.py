"""Scheduled sampling: in training, the model reads some characters that it sampled itself.

A model that is trained on true text alone never sees its own mistakes, but reads them when it samples. The known
remedy replaces a growing share of its inputs by its own samples (Bengio et al. 2015; Goodfellow, Bengio and
Courville, *Deep Learning*, section 10.2.1). Its targets remain the true text, so the training loss is no longer a
likelihood; the validation loss still is.
"""

import numpy as np
import torch

from charrnn.cells.arrays import Params
from charrnn.corpus.steps import Kind, Steps
from charrnn.models.language_model import LanguageModel
from charrnn.models.layers import Dropout
from charrnn.models.stack import States

PER_STEP = ("inputs", "remaining", "targets", "kinds")


def read_own_draws(
    model: LanguageModel,
    params: Params,
    steps: Steps,
    state: States,
    dropout: Dropout | None,
    share: float,
    rng: np.random.Generator,
) -> tuple[torch.Tensor, States]:
    """Like `model.read`, step by step, but each character is sampled from the model with probability `share`.

    The first step of a window reads the true text. Samples are from the softmax over characters at temperature
    1, without a gradient.
    """
    V = model.config.vocab_size
    length, rows = steps.inputs.shape
    replaced = torch.from_numpy(rng.random((length, rows)) < share).to(steps.inputs.device)
    follows = (steps.kinds[:-1] == Kind.CHARACTER) & (steps.inputs[1:] == steps.targets[:-1])
    replaced[0], replaced[1:] = False, replaced[1:] & follows
    outputs: list[torch.Tensor] = []
    for t in range(length):
        inputs = steps.inputs[t]
        if t and bool(replaced[t].any()):
            with torch.no_grad():
                logits = model.logits(params, outputs[-1][0])[:, :V]
                noise = torch.from_numpy(rng.gumbel(size=(rows, V))).to(logits)
                inputs = torch.where(replaced[t], (logits + noise).argmax(-1), inputs)
        now = steps._replace(
            **{name: value[t : t + 1] for name, value in steps._asdict().items() if name in PER_STEP}
        )
        hidden, state = model.read(params, now._replace(inputs=inputs[None]), state, dropout)
        outputs.append(hidden)
    return torch.cat(outputs), state
