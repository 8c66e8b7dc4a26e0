"""A sparse recurrent matrix that a cell's step multiplies by like any other: `h @ W.T`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from charrnn.cells.arrays import Array, is_numpy

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.floating]


def sparse(W: Array) -> "SparseArray | SparseTensor":
    """W (H, H) as a SparseArray or SparseTensor; W itself if it already is one."""
    if isinstance(W, SparseArray | SparseTensor):
        return W
    return SparseArray.of(W) if is_numpy(W) else SparseTensor(W)


@dataclass(frozen=True, eq=False)
class SparseArray:
    """W (H, H) in NumPy, with at most K connections per row: h Wᵀ takes K H products, not H²."""

    sources: npt.NDArray[np.intp]
    """(K, H): column i has the indices of the units that unit i reads."""
    weights: Floats
    """(K, H): the weights of these connections."""

    @classmethod
    def of(cls, W: Floats) -> "SparseArray":
        to, source = np.nonzero(W)
        counts = np.bincount(to, minlength=len(W))
        number = np.arange(len(to)) - np.repeat(np.cumsum(counts) - counts, counts)
        shape = (int(counts.max()), len(W))
        sources, weights = np.zeros(shape, np.intp), np.zeros(shape, W.dtype)
        sources[number, to], weights[number, to] = source, W[to, source]
        return cls(sources, weights)

    @property
    def T(self) -> "_Transposed":  # noqa: N802
        return _Transposed(self)


class _Transposed:
    """Wᵀ, the right-hand factor of h @ Wᵀ."""

    __array_ufunc__ = None  # so that NumPy's @ leaves the product to __rmatmul__

    def __init__(self, rows: SparseArray) -> None:
        self._rows = rows

    def __rmatmul__(self, h: Floats) -> Floats:
        """h Wᵀ, (B, H): Σ_k W[i, source(k, i)] h[source(k, i)]."""
        heard: Floats = np.einsum("bkh,kh->bh", h.take(self._rows.sources, axis=1), self._rows.weights)
        return heard


class SparseTensor:
    """W (H, H) in torch, as a constant: gradients go through h alone."""

    def __init__(self, W: "torch.Tensor") -> None:
        import torch

        W = W.detach()
        to, self._sources = W.nonzero(as_tuple=True)
        self._weights = W[to, self._sources]
        self._begins = torch.searchsorted(to, torch.arange(len(W), device=W.device))

    @property
    def T(self) -> "SparseTensor":  # noqa: N802
        return self

    def __rmatmul__(self, h: "torch.Tensor") -> "torch.Tensor":
        """h Wᵀ, (B, H)."""
        from torch.nn.functional import embedding_bag

        units = h.T.contiguous()
        heard = embedding_bag(self._sources, units, self._begins, mode="sum", per_sample_weights=self._weights)
        return heard.T
