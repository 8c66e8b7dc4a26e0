"""Reads prompts. A prompt is a prefix of the text that the model reads before anything is drawn."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import logsumexp
from charrnn.models.stack import States
from charrnn.models.stopping import LengthDistribution, Stop
from charrnn.sampling.stepper import FloatArray, IntArray, Stepper

SUPPORT = 512
"""Maximum number of candidate lengths read with a prompt; quantiles represent a wider distribution."""

NEGLIGIBLE = -23.0
"""ln of the tail probability beyond which a length is no candidate (1e-10)."""


class Prefix(NamedTuple):
    """C rows that have read BOS and a prompt of k characters."""

    state: States
    hidden: FloatArray
    """(C, H)"""
    log_prob: npt.NDArray[np.float64]
    """(C,) ln of the prompt's probability (and of not stopping in it), given τ under `length`."""


def read_prefix(stepper: Stepper, ending: Stop, prompt: IntArray, taus: IntArray | None = None) -> Prefix:
    """Reads BOS and the prompt (k,) from the initial state, in one row per entry of taus (C,), or in one row."""
    model = stepper.model
    rows = 1 if taus is None else len(taus)
    state = stepper.initial_state(rows)
    if ending.announces:
        _, state = _announce(stepper, state, rows)
    log_prob = np.zeros(rows)
    hidden, state = stepper.step(np.full(rows, model.config.vocab_size), taus, state)
    for t, symbol in enumerate(prompt):
        log_prob += stepper.log_next(ending, hidden, None if taus is None else taus - t)[1][:, symbol]
        remaining = None if taus is None else taus - t - 1
        hidden, state = stepper.step(np.full(rows, symbol), remaining, state)
    return Prefix(state, hidden, log_prob)


def length_distribution(stepper: Stepper, ending: Stop) -> LengthDistribution:
    """p(τ) at the initial state, parameters (1, K), in float64."""
    hidden, _ = _announce(stepper, stepper.initial_state(1), 1)
    output = ending.distribution(stepper.params, hidden)
    return LengthDistribution(
        output.log_weights.astype(np.float64),
        output.means.astype(np.float64),
        output.log_scales.astype(np.float64),
        output.kappa,
    )


class Candidates(NamedTuple):
    """Lengths τ ≥ k with their share of p(τ | τ ≥ k, prompt), and the prefix that each has read."""

    taus: IntArray
    weights: npt.NDArray[np.float64]
    prefix: Prefix
    log_prob: npt.NDArray[np.float64]
    """(C,) ln p(τ) p(prompt | τ)"""
    log_evidence: float
    """ln of the prompt's probability as a prefix: Σ_τ p(τ) p(prompt | τ)."""


def length_candidates(stepper: Stepper, ending: Stop, prompt: IntArray) -> Candidates:
    """p(τ | τ ≥ k, prompt) ∝ p(τ) Π p(prompt | τ), with all candidates τ in one batch.

    At most SUPPORT lengths: all of non-negligible probability if they are few enough, otherwise SUPPORT
    quantiles of p(τ | τ ≥ k), which all have the same prior share.
    """
    p, k = length_distribution(stepper, ending), len(prompt)
    log_reach = float(p.log_survival(np.array([k - 1]))[0])
    last = int(p.inverse_survival(np.array([log_reach + NEGLIGIBLE]))[0])
    if last - k < SUPPORT:
        taus = np.arange(k, last + 1)
        log_prior = p.log_prob(taus)
    else:
        u = (np.arange(SUPPORT) + 0.5) / SUPPORT
        taus = np.maximum(p.inverse_survival(np.log1p(-u) + log_reach), k)
        log_prior = np.full(SUPPORT, log_reach - np.log(SUPPORT))
    prefix = read_prefix(stepper, ending, prompt, taus)
    log_joint = log_prior + prefix.log_prob
    evidence = float(logsumexp(log_joint[None])[0])
    log_prob = p.log_prob(taus) + prefix.log_prob
    return Candidates(taus, np.exp(log_joint - evidence), prefix, log_prob, evidence)


def _announce(stepper: Stepper, state: States, rows: int) -> tuple[FloatArray, States]:
    """Reads BOS without the count."""
    return stepper.step(np.full(rows, stepper.model.config.vocab_size), None, state)
