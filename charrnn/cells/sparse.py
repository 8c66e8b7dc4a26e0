"""A sparse recurrent matrix in NumPy, by which a cell's step multiplies as by any other."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class SparseRows:
    """W (H, H) of at most K connections a row; what the cell's step asks of it is h Wᵀ, K H products, not H²."""

    sources: npt.NDArray[np.intp]
    """(K, H): which units unit i hears."""
    weights: Floats
    """(K, H): how loud."""

    @classmethod
    def of(cls, W: Floats) -> "SparseRows":
        to, source = np.nonzero(W)
        counts = np.bincount(to, minlength=len(W))
        number = np.arange(len(to)) - np.repeat(np.cumsum(counts) - counts, counts)
        shape = (int(counts.max()), len(W))
        sources, weights = np.zeros(shape, np.intp), np.zeros(shape, W.dtype)
        sources[number, to], weights[number, to] = source, W[to, source]
        return cls(sources, weights)

    @property
    def T(self) -> "SparseColumns":  # noqa: N802
        return SparseColumns(self)


class SparseColumns:
    """Wᵀ, the right-hand factor of h @ Wᵀ."""

    __array_ufunc__ = None  # so that NumPy's @ leaves the product to __rmatmul__

    def __init__(self, rows: SparseRows) -> None:
        self._rows = rows

    def __rmatmul__(self, h: Floats) -> Floats:
        """h Wᵀ, (B, H): Σ_k W[i, source(k, i)] h[source(k, i)]."""
        heard: Floats = np.einsum("bkh,kh->bh", h.take(self._rows.sources, axis=1), self._rows.weights)
        return heard
