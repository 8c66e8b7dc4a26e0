"""Converts named arrays to safetensors bytes and back. Knows nothing of models.

Writing uses the safetensors library; the bytes depend only on the arrays, not on their order or memory layout.
Reading is done here, because a header must be validated before anything is allocated: the library accepts
duplicate names, control characters in names, and any number and shape of empty tensors.
"""

import io
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta
from safetensors.numpy import save

from charrnn.checkpoint.reading import one_line
from charrnn.errors import CheckpointError

MAX_HEADER_BYTES = 1 << 20
MAX_TENSORS = 4_096
_MAX_SIZE = 1 << 40

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
}

_Size = Annotated[int, Meta(ge=0, le=_MAX_SIZE)]


class _Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dtype: Literal["F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8"]
    shape: Annotated[tuple[_Size, ...], Meta(max_length=8)]
    data_offsets: tuple[_Size, _Size]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * np.dtype(_DTYPES[self.dtype]).itemsize


_Header = Annotated[
    dict[Annotated[str, Meta(pattern=r"^[ -~]{1,200}\Z")], _Tensor],
    Meta(max_length=MAX_TENSORS),
]


def encode_tensors(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The arrays as one safetensors file. Raises CheckpointError for arrays that `read_tensors` would refuse."""
    # The library copies raw memory, so a transposed view would be read back scrambled.
    data = save({name: np.require(arrays[name], requirements="C") for name in sorted(arrays)})
    _read_header(io.BytesIO(data).read, len(data), "tensors to be saved")
    return data


def read_tensors(
    read: Callable[[int], bytes],
    size: int,
    where: Path | str,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> dict[str, np.ndarray]:
    """Read a safetensors file of `size` bytes through `read(count)`, from its beginning to its end.

    With `shapes`, the file must hold exactly those names in those shapes, all float32. The header is checked
    against the file's size and against `shapes` before any array is made. The arrays are writable and own
    their memory. Raises CheckpointError.
    """
    header = _read_header(read, size, where)
    if shapes is not None:
        _check_shapes(header, shapes, where)
    arrays = {}
    for name, tensor in header.items():
        data = read(tensor.nbytes)
        if len(data) != tensor.nbytes:
            raise CheckpointError(f"{where}: ends inside tensor {name!r}; the file was cut short")
        arrays[name] = np.ndarray(tensor.shape, _DTYPES[tensor.dtype], buffer=data).copy()
    return arrays


def _read_header(read: Callable[[int], bytes], size: int, where: Path | str) -> dict[str, _Tensor]:
    """The tensors that the header declares, in the order of their data, which must have no gaps."""
    length = int.from_bytes(read(8), "little")
    if length > MAX_HEADER_BYTES or 8 + length > size:
        raise CheckpointError(
            f"{where}: not a safetensors file: its header would take {length} of {size} bytes "
            f"(at most {MAX_HEADER_BYTES})"
        )
    try:
        found = json.loads(read(length).decode(), object_pairs_hook=_object)
        if isinstance(found, dict):
            msgspec.convert(found.pop("__metadata__", {}), dict[str, str])
        header: dict[str, _Tensor] = msgspec.convert(found, _Header)
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise CheckpointError(f"{where}: not a safetensors header: {one_line(error)}") from error

    ordered = dict(sorted(header.items(), key=lambda item: item[1].data_offsets))
    end = 0
    for name, tensor in ordered.items():
        # An empty tensor takes no bytes, so the file's size does not bound its other dimensions.
        if math.prod(max(extent, 1) for extent in tensor.shape) > _MAX_SIZE:
            raise CheckpointError(f"{where}: tensor {name!r} has the impossible shape {tensor.shape}")
        if tensor.data_offsets != (end, end + tensor.nbytes):
            raise CheckpointError(
                f"{where}: tensor {name!r} lies at bytes {tensor.data_offsets}, "
                f"expected {(end, end + tensor.nbytes)}"
            )
        end += tensor.nbytes
    if 8 + length + end != size:
        raise CheckpointError(f"{where}: {size} bytes, but its header describes {8 + length + end}")
    return ordered


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _check_shapes(header: Mapping[str, _Tensor], shapes: Mapping[str, tuple[int, ...]], where: Path | str) -> None:
    if missing := sorted(shapes.keys() - header.keys()):
        raise CheckpointError(f"{where}: tensor {missing[0]!r} is missing; the weights are of another model")
    if extra := sorted(header.keys() - shapes.keys()):
        raise CheckpointError(f"{where}: unexpected tensor {extra[0]!r}; the weights are of another model")
    for name, tensor in header.items():
        if tensor.dtype != "F32" or tensor.shape != tuple(shapes[name]):
            raise CheckpointError(
                f"{where}: tensor {name!r} is {tensor.dtype} {tensor.shape}, expected F32 {tuple(shapes[name])}"
            )
