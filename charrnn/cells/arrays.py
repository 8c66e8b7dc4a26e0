"""The array operations whose names differ between NumPy and torch, dispatched by the argument's type.

Every equation of charrnn is written once, with these functions, operators, `@`, slices and Python floats, and
changes nothing in place. NumPy runs it to sample and score; torch runs the same lines under autograd to train.
For NumPy arrays these functions never import torch.
"""

import itertools
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np

Array: TypeAlias = Any
"""A `numpy.ndarray` or a `torch.Tensor`; they have no common type that describes what both can do."""

Params: TypeAlias = dict[str, Array]


class OneHot(NamedTuple):
    """Symbols as one-hot vectors beside dense features, x = [onehot(ids), features], never materialised.

    ids: (...,) integers in 0 … size; the id `size` is the zero vector.
    features: (..., F), or None for F = 0.
    embedding: (size, E), a vector per symbol, so x = [embedding[ids], features]; None for one-hot vectors.
    """

    ids: Array
    size: int
    features: Array | None = None
    embedding: Array | None = None

    @property
    def width(self) -> int:
        """The number of entries of x that represent the symbol."""
        return self.size if self.embedding is None else int(self.embedding.shape[-1])


def is_numpy(x: Array) -> bool:
    return isinstance(x, np.ndarray)


def linear(x: Array | OneHot, weight: Array) -> Array:
    """x Wᵀ, shape (..., G), for x (..., I) and W (G, I); symbols look up their rows of a table."""
    if not isinstance(x, OneHot):
        return x @ weight.T
    table = weight[:, : x.width].T
    if x.embedding is not None:
        table = x.embedding @ table
    result = rows_or_zero(table, x.ids)
    return result if x.features is None else result + x.features @ weight[:, x.width :].T


def dense(x: Array | OneHot, like: Array) -> Array:
    """x as an array (..., I) of the type of `like`, for kernels without one-hot inputs (torch only)."""
    if not isinstance(x, OneHot):
        return x
    if x.embedding is not None:
        vectors = rows_or_zero(x.embedding, x.ids)
    else:
        from torch.nn.functional import one_hot

        vectors = one_hot(x.ids, x.size + 1)[..., : x.size].to(like.dtype)
    return vectors if x.features is None else concat([vectors, x.features], axis=-1)


def rows(table: Array, ids: Array) -> Array:
    """table[ids], shape (..., G), for a table (R, G) and integers (...,)."""
    if isinstance(table, np.ndarray):
        return table[ids]
    from torch.nn.functional import embedding

    return embedding(ids, table)


def rows_or_zero(table: Array, ids: Array) -> Array:
    """table[ids], shape (..., G), for a table (R, G) and integers in 0 … R; the row R is zero."""
    return rows(concat([table, zeros_like(table[:1])], axis=0), ids)


def tanh(x: Array) -> Array:
    return np.tanh(x) if isinstance(x, np.ndarray) else x.tanh()


def sigmoid(x: Array) -> Array:
    if not isinstance(x, np.ndarray):
        return x.sigmoid()
    y = np.multiply(x, 0.5, out=np.empty_like(x))
    np.tanh(y, out=y)
    y *= 0.5
    y += 0.5
    return y


def exp(x: Array) -> Array:
    return np.exp(x) if isinstance(x, np.ndarray) else x.exp()


def log(x: Array) -> Array:
    return np.log(x) if isinstance(x, np.ndarray) else x.log()


def log1p(x: Array) -> Array:
    return np.log1p(x) if isinstance(x, np.ndarray) else x.log1p()


def softplus(x: Array) -> Array:
    """ln(1 + eˣ) without overflow; −softplus(−x) is ln σ(x)."""
    if isinstance(x, np.ndarray):
        return np.logaddexp(x, np.zeros((), x.dtype))
    from torch.nn.functional import logsigmoid

    return -logsigmoid(-x)


def logsumexp(x: Array) -> Array:
    """ln Σ eˣ over the last axis, shape (...)."""
    if isinstance(x, np.ndarray):
        largest = np.max(x, axis=-1, keepdims=True)
        return np.log(np.sum(np.exp(x - largest), axis=-1)) + largest[..., 0]
    return x.logsumexp(-1)


def log_softmax(x: Array) -> Array:
    """x − ln Σ eˣ over the last axis, same shape as x."""
    if isinstance(x, np.ndarray):
        shifted = x - x.max(axis=-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return x.log_softmax(-1)


def take_last(x: Array, ids: Array) -> Array:
    """x[..., ids], one entry per row, shape (...), for x (..., V) and integers (...)."""
    if isinstance(x, np.ndarray):
        return np.take_along_axis(x, ids[..., None], axis=-1)[..., 0]
    return x.gather(-1, ids[..., None])[..., 0]


def where(condition: Array, x: Array | float, y: Array | float) -> Array:
    if isinstance(condition, np.ndarray):
        return np.where(condition, x, y)
    import torch

    return torch.where(condition, x, y)


def spread(mask: Array, values: Array) -> Array:
    """An array of the mask's shape: the values, in order, where the mask is true, and zero elsewhere."""
    if isinstance(values, np.ndarray):
        result = np.zeros(mask.shape, values.dtype)
        result[mask] = values
        return result
    return values.new_zeros(mask.shape).masked_scatter(mask, values)


def concat(arrays: Sequence[Array], axis: int) -> Array:
    if isinstance(arrays[0], np.ndarray):
        return np.concatenate(arrays, axis=axis)
    import torch

    return torch.cat(list(arrays), dim=axis)


def unstack(x: Array) -> Sequence[Array]:
    """The arrays along the first axis; in torch, one node of the graph for any number of arrays."""
    parts: Sequence[Array] = list(x) if isinstance(x, np.ndarray) else x.unbind(0)
    return parts


def split(x: Array, *sizes: int) -> Sequence[Array]:
    """Consecutive parts of the last axis; in torch, one node of the graph instead of one per slice."""
    if not isinstance(x, np.ndarray):
        parts: Sequence[Array] = x.split(sizes, -1)
        return parts
    return [x[part] for part in _last_axis_parts(sizes)]


def split_rows(x: Array, sizes: Sequence[int]) -> Sequence[Array]:
    """Consecutive parts of the first axis; in torch, one node of the graph."""
    if isinstance(x, np.ndarray):
        return np.split(x, list(itertools.accumulate(sizes))[:-1])
    parts: Sequence[Array] = x.split(list(sizes), 0)
    return parts


@cache
def _last_axis_parts(sizes: tuple[int, ...]) -> Sequence[Any]:
    """Indices of the parts, cached: recreating them took a tenth of an LSTM's step."""
    ends = itertools.accumulate(sizes)
    return [np.s_[..., end - size : end] for size, end in zip(sizes, ends, strict=True)]


def largest(x: Array) -> Array:
    """The maximum over the first axis."""
    return np.max(x, axis=0) if isinstance(x, np.ndarray) else x.amax(0)


def standardise(x: Array, epsilon: float) -> Array:
    """(x − mean) / √(variance + ε) over the last axis, the shape of x."""
    if isinstance(x, np.ndarray):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred * centred).mean(-1, keepdims=True) + epsilon)
    from torch.nn.functional import layer_norm

    return layer_norm(x, x.shape[-1:], eps=epsilon)


def sum_groups(x: Array, sizes: Any) -> Array:
    """Sums (n, H) of consecutive groups of rows of x (m, H); group `sizes` (n,): NumPy integers, at least 1."""
    if isinstance(x, np.ndarray):
        return np.add.reduceat(x, np.cumsum(sizes) - sizes, axis=0)
    owner = asarray(np.repeat(np.arange(len(sizes)), sizes), x)
    return x.new_zeros(len(sizes), x.shape[-1]).index_add(0, owner, x)


def stack(arrays: Sequence[Array]) -> Array:
    """The arrays along a new first axis."""
    if isinstance(arrays[0], np.ndarray):
        return np.stack(arrays)
    import torch

    return torch.stack(list(arrays))


def broadcast(x: Array, shape: tuple[int, ...]) -> Array:
    """x repeated along leading axes and those of size one, without a copy."""
    return np.broadcast_to(x, shape) if isinstance(x, np.ndarray) else x.expand(shape)


def zeros(shape: tuple[int, ...], like: Array) -> Array:
    """Zeros with the library, number type and device of `like`."""
    return np.zeros(shape, like.dtype) if isinstance(like, np.ndarray) else like.new_zeros(shape)


def zeros_like(x: Array) -> Array:
    return zeros(tuple(x.shape), x)


def floats(x: Array, like: Array) -> Array:
    """x in the number type of `like`."""
    return x.astype(like.dtype) if isinstance(x, np.ndarray) else x.to(like.dtype)


def integers(x: Array) -> Array:
    """x as 64-bit integers, which both libraries take as indices."""
    return x.astype(np.int64) if isinstance(x, np.ndarray) else x.long()


def asarray(values: Any, like: Array) -> Array:
    """Numbers as an array of the library and device of `like`, in their own number type."""
    if isinstance(like, np.ndarray):
        return np.asarray(values)
    import torch

    return torch.as_tensor(values, device=like.device)
