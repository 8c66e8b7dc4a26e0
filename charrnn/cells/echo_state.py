"""An echo state network's reservoir: random recurrent weights that are scaled and never trained."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Params
from charrnn.cells.leaky import LEARNED, Leaky
from charrnn.cells.sparse import SparseArray, sparse

CONNECTIONS = 10
"""Incoming connections of each unit; a larger reservoir does not need more (Lukoševičius 2012, section 3.2.2)."""

SMALL = 250
"""Below this many units, computing all eigenvalues is as fast as computing the largest."""

LEFT_OVER = 1e-7
"""The largest relative residual; the eigenvalue's own error is smaller by orders of magnitude."""


@dataclass(frozen=True)
class EchoState(Leaky):
    """h(t) = α h(t−1) + (1 − α) tanh(b + W h(t−1) + U x(t)), the equation of `leaky`, with U, W and b fixed.

    W = `weight_hh` (H, H) is sparse, with ten connections per unit, and scaled so that its spectral radius, the
    largest |eigenvalue|, is `spectral_radius`, which sets how long inputs echo in the state. U = `weight_ih`
    (H, I) and b = `bias` (H,) are uniform within ± `input_scaling`, which sets how far inputs drive the units into
    their non-linearity. α = `leak_alpha` is fixed; the reservoir literature's leak rate is 1 − α. Only the
    readout is trained. For fixed states this is a convex problem: logistic regression for characters. |h| ≤ 1, so
    with finite weights every logit is bounded and the probability of stopping stays above a positive constant.

    Unfolded in time (α: a share of h itself):

                      o(1)          o(2)          o(3)
                     V ↑           V ↑           V ↑
        h(0) ╶W, α──→ h(1) ╶W, α──→ h(2) ╶W, α──→ h(3)
                     U ↑           U ↑           U ↑
                      x(1)          x(2)          x(3)

    Source: Goodfellow, Bengio and Courville, *Deep Learning*, section 10.8; Jaeger 2001; Lukoševičius 2012.
    """

    leak_alpha: str = "0"
    spectral_radius: float = 0.9
    input_scaling: float = 1.0

    frozen: ClassVar[frozenset[str]] = frozenset({"weight_ih", "weight_hh", "bias"})

    def __post_init__(self) -> None:
        if self.leak_alpha == LEARNED:
            raise ValueError("leak_alpha 'learned': nothing in a reservoir is learned; give a number or a range")
        super().__post_init__()
        if not (0.0 <= self.spectral_radius < np.inf and 0.0 <= self.input_scaling < np.inf):
            raise ValueError("spectral_radius and input_scaling: expected finite numbers from 0 on")

    def init(self, rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
        H, I = self.hidden_size, self.input_size  # noqa: E741
        weight_hh = sparse_reservoir(rng, H, self.spectral_radius)
        bound = self.input_scaling
        return {
            "weight_ih": rng.uniform(-bound, bound, (H, I)).astype(np.float32),
            "weight_hh": weight_hh.astype(np.float32),
            "bias": rng.uniform(-bound, bound, H).astype(np.float32),
        }

    def compact(self, params: Params) -> Params:
        """Makes W sparse, so that only existing connections are multiplied."""
        return {**params, "weight_hh": sparse(params["weight_hh"])}


def sparse_reservoir(rng: np.random.Generator, units: int, spectral_radius: float) -> npt.NDArray[np.float64]:
    """W (H, H): CONNECTIONS uniform values per row, at random places, scaled to the spectral radius."""
    connections = min(CONNECTIONS, units)
    places = rng.permuted(np.tile(np.arange(units), (units, 1)), axis=1)[:, :connections]
    W = np.zeros((units, units))
    np.put_along_axis(W, places, rng.uniform(-1.0, 1.0, places.shape), axis=1)
    largest = largest_eigenvalue(W)
    return W if largest == 0.0 else W * (spectral_radius / largest)


def largest_eigenvalue(W: npt.NDArray[np.float64]) -> float:
    """The largest |eigenvalue| of W (H, H), by Arnoldi's iteration.

    Many eigenvalues of a random matrix are nearly as large as the largest, so the Krylov space grows until the
    residual W v − λ v shows that λ is an eigenvalue. This is four times as fast as computing all eigenvalues, the
    method for a small W or one that does not converge.

    Source: Saad 2011, *Numerical Methods for Large Eigenvalue Problems*, section 6.2.
    """
    H, across = len(W), SparseArray.of(W).T
    basis, projected = np.empty((H + 1, H)), np.zeros((H + 1, H))
    basis[0] = np.random.default_rng(0).normal(size=H)
    basis[0] /= np.linalg.norm(basis[0])
    check = int(7.0 * H**0.5)  # About as many directions as needed; checking sooner costs more than it saves.
    for k in range(1, H // 2 if H >= SMALL else 0):
        known, v = basis[:k], (basis[k - 1 : k] @ across)[0]
        for _ in range(2):  # The second pass removes what rounding left of the known directions.
            along = known @ v
            v = v - along @ known
            projected[:k, k - 1] += along
        projected[k, k - 1] = np.linalg.norm(v)
        if projected[k, k - 1] == 0.0:
            break
        basis[k] = v / projected[k, k - 1]
        if k == check:
            check += check // 6
            values, vectors = np.linalg.eig(projected[:k, :k])
            largest = int(np.abs(values).argmax())
            left_over = projected[k, k - 1] * abs(vectors[-1, largest])
            if left_over < LEFT_OVER * abs(values[largest]):
                return float(abs(values[largest]))
    return float(np.abs(np.linalg.eigvals(W)).max())


CELL = EchoState
