"""Eigenvalues of the matrices that act from step to step, and what they do and do not say about a cell."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from charrnn.cells.cell import Cell
from charrnn.cells.coupled_lstm import CoupledLSTM
from charrnn.cells.deep_transition import DeepTransition
from charrnn.cells.echo_state import largest_eigenvalue
from charrnn.cells.gru import GRU
from charrnn.cells.layer_norm_lstm import LayerNormLSTM
from charrnn.cells.leaky import Leaky
from charrnn.cells.lstm import LSTM
from charrnn.cells.output_recurrent import OutputRecurrent
from charrnn.cells.peephole_lstm import PeepholeLSTM
from charrnn.cells.skip import Skip

GATES: dict[type, tuple[str, ...]] = {
    LSTM: ("W_i", "W_f", "W_g", "W_o"),
    PeepholeLSTM: ("W_i", "W_f", "W_g", "W_o"),
    LayerNormLSTM: ("W_i", "W_f", "W_g", "W_o"),
    CoupledLSTM: ("W_f", "W_g", "W_o"),
    GRU: ("W_r", "W_z", "W_n"),
}
"""The blocks (H, H) of `weight_hh` in their order there; g and n are candidates."""

MOST_UNITS = 1024
"""The largest size for which all eigenvalues are computed; of a larger matrix, only the largest one is."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Spectrum:
    """The eigenvalues of a square matrix through which a state acts on the next one."""

    matrix: str
    """Its name in the cell's equations."""
    size: int
    radius: float
    """ρ, the largest |eigenvalue|."""
    norm: float
    """σ, the largest singular value; ρ ≤ σ, and they are equal for a normal matrix."""
    eigenvalues: tuple[tuple[float, float], ...] | None
    """Real and imaginary parts, the largest first; None for more than MOST_UNITS."""


GATED = (
    "of W's block of each gate; its inputs are multiplied by gates that close and open, so none of these "
    "alone says how far gradients reach: the Lyapunov exponent does"
)


def meaning_of_spectrum(cell: Cell) -> str:
    """In words, which matrices `recurrent_matrices` has, and what may be concluded from their radii."""
    if isinstance(cell, DeepTransition):
        return f"{meaning_of_spectrum(cell.cell)}; the layers of the transition act beside them"
    if isinstance(cell, OutputRecurrent):
        return "of V W, from output to output; the softmax and tanh between them shrink what they let through"
    if isinstance(cell, Leaky):
        return (
            "of α + (1−α) W: what a step does to a small change where tanh is linear; elsewhere tanh lets less of "
            "W through"
        )
    if isinstance(cell, Skip):
        return "of each delay's own block; the delays act together, and the shift of the history alone has σ = 1"
    if "weight_hh" not in cell.shapes:
        return "no matrix acts from a state on the next; the Lyapunov exponent says what is kept"
    if cell.shapes["weight_hh"][0] > cell.shapes["weight_hh"][1]:
        return GATED
    return "of W: where tanh is linear ln norm changes by ln radius a step; elsewhere tanh lets less of W through"


def recurrent_matrices(cell: Cell, params: dict[str, NDArray[np.floating]]) -> dict[str, Matrix]:
    """The square matrices by which a layer's state acts on its next one, by name; empty if no matrix does.

    A gated cell has a block of W for each gate, a skip cell one for each delay. A leaky cell has W and
    α + (1 − α) W, its step's Jacobian where tanh is linear. A cell that feeds its output back has V W.
    """
    while isinstance(cell, DeepTransition):
        cell = cell.cell
    if "weight_hh" not in cell.shapes:
        return {}
    W = np.asarray(params["weight_hh"], np.float64)
    if isinstance(cell, OutputRecurrent):
        V = np.asarray(params["weight_ho"], np.float64)
        return {} if cell.feedback == "target" else {"V W": V @ W}
    if isinstance(cell, Leaky):
        alpha = np.asarray(cell.alpha({name: np.asarray(value) for name, value in params.items()}), np.float64)
        return {"W": W, "α + (1−α) W": np.diag(alpha) + (1.0 - alpha)[:, None] * W}
    if isinstance(cell, Skip):
        return {
            f"W_{delay}": block for delay, block in zip(cell.delays, np.hsplit(W, len(cell.delays)), strict=True)
        }
    blocks = np.vsplit(W, len(W) // W.shape[1])
    if len(blocks) == 1:
        return {"W": W}
    names = GATES.get(type(cell), tuple(f"W[{number}]" for number in range(1, len(blocks) + 1)))
    return dict(zip(names, blocks, strict=True))


def spectrum(name: str, W: Matrix) -> Spectrum:
    """The spectrum of a square matrix."""
    norm = float(np.linalg.norm(W, 2))
    if len(W) > MOST_UNITS:
        return Spectrum(name, len(W), largest_eigenvalue(W), norm, None)
    values = np.linalg.eigvals(W)
    values = values[np.argsort(-np.abs(values), kind="stable")]
    pairs = tuple((float(value.real), float(value.imag)) for value in values)
    return Spectrum(name, len(W), float(np.abs(values[0])), norm, pairs)
