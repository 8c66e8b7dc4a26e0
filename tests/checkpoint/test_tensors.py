"""The tensor file: what is written, and that nothing hostile gets past its header."""

import io
import json
import string
import struct
import subprocess
import sys
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from charrnn.checkpoint.tensors import MAX_HEADER_BYTES, MAX_TENSORS, encode_tensors, read_tensors
from charrnn.errors import CheckpointError

DTYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1"]
NAMES = st.text(string.ascii_letters + string.digits + "._ -", min_size=1, max_size=20)
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)


def read(data: bytes, shapes: dict[str, tuple[int, ...]] | None = None) -> dict[str, np.ndarray]:
    return read_tensors(io.BytesIO(data).read, len(data), "file", shapes)


def file_of(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(shape: list[Any], begin: Any, end: Any, dtype: Any = "F32", **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end], **more}


def empty_tensors(count: int) -> bytes:
    """The header of so many, written at once: `json` takes a second for the most of them."""
    return b"{%s}" % b", ".join(
        b'"%d": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}' % number for number in range(count)
    )


@given(st.dictionaries(NAMES, ARRAYS, max_size=5))
def test_arrays_come_back_as_they_were(arrays: dict[str, np.ndarray]) -> None:
    data = encode_tensors(arrays)
    ours, theirs = read(data), safetensors.numpy.load(data)
    assert ours.keys() == theirs.keys() == arrays.keys()
    for name, array in arrays.items():
        assert ours[name].dtype == array.dtype
        np.testing.assert_array_equal(ours[name], array, strict=True)
        np.testing.assert_array_equal(ours[name], theirs[name], strict=True)
        assert ours[name].flags.writeable
        assert ours[name].flags.owndata


@given(st.dictionaries(NAMES, ARRAYS, max_size=5), st.randoms())
def test_bytes_depend_on_the_arrays_alone(arrays: dict[str, np.ndarray], random: Any) -> None:
    names = list(arrays)
    random.shuffle(names)
    shuffled = {name: np.array(arrays[name], order="F") for name in names}
    strided = {
        name: np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array for name, array in arrays.items()
    }
    big_endian = {name: array.astype(array.dtype.newbyteorder(">")) for name, array in arrays.items()}
    assert (
        encode_tensors(arrays) == encode_tensors(shuffled) == encode_tensors(strided) == encode_tensors(big_endian)
    )


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": np.zeros(2, bool)},
        {"x": np.zeros(2, np.complex64)},
        {"": np.zeros(2)},
        {"\x1b[31m": np.zeros(2)},
        {"é": np.zeros(2)},
        {"x" * 201: np.zeros(2)},
        {"__metadata__": np.zeros(2)},
        {str(i): np.zeros(1) for i in range(MAX_TENSORS + 1)},
    ],
)
def test_what_could_not_be_read_back_is_not_written(arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(CheckpointError):
        encode_tensors(arrays)


def test_metadata_of_other_writers_is_read_over() -> None:
    data = safetensors.numpy.save({"x": np.ones(2, np.float32)}, metadata={"format": "pt"})
    assert read(data, {"x": (2,)})["x"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"a": (2, 3)}, "unexpected tensor 'b'"),
        ({"a": (2, 3), "b": (4,), "c": (1,)}, "'c' is missing"),
        ({"a": (3, 2), "b": (4,)}, r"'a' is F32 \(2, 3\), expected F32 \(3, 2\)"),
        ({"a": (6,), "b": (4,)}, r"expected F32 \(6,\)"),
        ({}, "unexpected tensor 'a'"),
    ],
)
def test_another_model_is_refused(shapes: dict[str, tuple[int, ...]], message: str) -> None:
    data = encode_tensors({"a": np.zeros((2, 3), np.float32), "b": np.zeros(4, np.float32)})
    with pytest.raises(CheckpointError, match=message):
        read(data, shapes)


def test_parameters_must_be_float32() -> None:
    with pytest.raises(CheckpointError, match=r"F16 \(2,\), expected F32"):
        read(encode_tensors({"a": np.zeros(2, np.float16)}), {"a": (2,)})


HOSTILE = {
    "empty file": b"",
    "shorter than a length": b"\0" * 7,
    "no header": struct.pack("<Q", 0),
    "absurd length": struct.pack("<Q", 2**64 - 1),
    "header beyond the file": struct.pack("<Q", 3) + b"{}",
    "header beyond the bound": file_of(b" " * (MAX_HEADER_BYTES + 1)),
    "not json": file_of(b"{]"),
    "not utf-8": file_of(b'{"\xff":1}'),
    "utf-16": file_of(json.dumps({}).encode("utf-16")),
    "array": file_of([]),
    "number": file_of(1),
    "deep": file_of(b"[" * 500_000),
    "deep object": file_of(b'{"a":' * 150_000),
    "long number": file_of(b"1" * 500_000),
    "nan": file_of(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,0]}}'),
    "duplicate name": file_of(
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        b"x",
    ),
    "duplicate field": file_of(b'{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}', b"x"),
    "escape codes": file_of({"\x1b[2J": entry([1], 0, 4)}, b"1234"),
    "not ascii": file_of({"é": entry([1], 0, 4)}, b"1234"),
    "lone surrogate": file_of({"\ud800": entry([1], 0, 4)}, b"1234"),
    "no name": file_of({"": entry([1], 0, 4)}, b"1234"),
    "trailing newline": file_of({"a\n": entry([1], 0, 4)}, b"1234"),
    "unknown dtype": file_of({"a": entry([1], 0, 4, "F128")}, b"1234"),
    "pickled dtype": file_of({"a": entry([1], 0, 1, "O")}, b"1"),
    "bool": file_of({"a": entry([1], 0, 1, "BOOL")}, b"\x07"),
    "dtype a number": file_of({"a": entry([1], 0, 4, 4)}, b"1234"),
    "unknown field": file_of({"a": entry([1], 0, 4, more=1)}, b"1234"),
    "missing field": file_of({"a": {"dtype": "F32", "shape": [1]}}, b"1234"),
    "metadata not text": file_of({"__metadata__": {"a": [1]}}),
    "metadata a tensor": file_of({"__metadata__": entry([1], 0, 4)}, b"1234"),
    "negative size": file_of({"a": entry([-1], 0, 4)}, b"1234"),
    "two negatives": file_of({"a": entry([-1, -1], 0, 4)}, b"1234"),
    "true for one": file_of({"a": entry([True], 0, 4)}, b"1234"),
    "float size": file_of({"a": entry([1.0], 0, 4)}, b"1234"),
    "overflow": file_of({"a": entry([2**32, 2**32], 0, 4)}, b"1234"),
    "overflow to fit": file_of({"a": entry([2**33, 2**33, 2**33, 2**31 + 1], 0, 4)}, b"1234"),
    "giant": file_of({"a": entry([2**40], 0, 2**42)}, b"1234"),
    "beyond 64 bits": file_of({"a": entry([2**70], 0, 4)}, b"1234"),
    "empty giant": file_of({"a": entry([0, 2**39, 2**39], 0, 0)}),
    "empty giants": file_of({"a": entry([0] + [2**40] * 7, 0, 0)}),
    "too many dimensions": file_of({"a": entry([1] * 9, 0, 4)}, b"1234"),
    "negative offset": file_of({"a": entry([1], -4, 0)}, b"1234"),
    "offsets reversed": file_of({"a": entry([1], 4, 0)}, b"1234"),
    "three offsets": file_of({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 4]}}, b"1234"),
    "overlap": file_of({"a": entry([1], 0, 4), "b": entry([1], 2, 6)}, b"123456"),
    "same bytes twice": file_of({"a": entry([1], 0, 4), "b": entry([1], 0, 4)}, b"1234"),
    "gap": file_of({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, b"1" * 12),
    "gap at the start": file_of({"a": entry([1], 4, 8)}, b"12345678"),
    "size is not the shape's": file_of({"a": entry([2], 0, 4)}, b"1234"),
    "bytes after the end": file_of({"a": entry([1], 0, 4)}, b"12345"),
    "cut short": file_of({"a": entry([1], 0, 4)}, b"123"),
    "many empty tensors": file_of(empty_tensors(300_000)),
    "as many as fit": file_of(empty_tensors(15_000)),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_file_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(CheckpointError) as caught:
        read(data)
    message = str(caught.value)
    assert message.isascii()
    assert message.isprintable()
    assert message.startswith("file: ")
    assert len(message) < 400


def test_a_refusal_reads_no_more_than_the_header() -> None:
    """A file of 1 TiB that holds what it declares is refused for its shapes before its data is touched."""
    header = file_of({"a": entry([2**38], 0, 2**40)})
    source = io.BytesIO(header)
    with pytest.raises(CheckpointError, match="expected F32"):
        read_tensors(source.read, len(header) + 2**40, "file", {"a": (2, 2)})
    assert source.tell() == len(header)


def test_a_file_that_shrinks_while_it_is_read_is_refused() -> None:
    data = encode_tensors({"a": np.zeros(4, np.float32)})
    with pytest.raises(CheckpointError, match="ends inside tensor 'a'"):
        read_tensors(io.BytesIO(data[:-1]).read, len(data), "file")


VALID = encode_tensors({"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(3, np.uint8)})


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(CheckpointError):
        read(noise)


@given(st.binary(max_size=200))
def test_noise_in_a_header_is_refused(noise: bytes) -> None:
    with pytest.raises(CheckpointError):
        read(file_of(noise))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["F32", "U8"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["a", "dtype", "shape", "data_offsets", "__metadata__"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)
SIZES = st.integers(-1, 5) | st.sampled_from([2**31, 2**40, 2**63, 2**64])


@given(
    JSON
    | st.dictionaries(
        st.text(max_size=3),
        st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(["F32", "U8", "F64", "X"]),
                "shape": st.lists(SIZES, max_size=3),
                "data_offsets": st.lists(SIZES, min_size=1, max_size=3),
            }
        ),
        max_size=3,
    ),
    st.binary(max_size=16),
)
def test_whatever_is_accepted_means_what_its_header_says(header: Any, data: bytes) -> None:
    try:
        arrays = read(file_of(header, data))
    except CheckpointError:
        return
    declared = {name: tensor for name, tensor in header.items() if name != "__metadata__"}
    assert arrays.keys() == declared.keys()
    assert sum(array.nbytes for array in arrays.values()) == len(data)
    for name, array in arrays.items():
        begin, end = declared[name]["data_offsets"]
        assert list(array.shape) == declared[name]["shape"]
        assert array.tobytes() == data[begin:end]


@given(st.integers(0, len(VALID) - 1), st.integers(1, 255), st.integers(0, len(VALID)))
def test_damage_is_refused_or_harmless(position: int, mask: int, length: int) -> None:
    damaged = bytearray(VALID)
    damaged[position] ^= mask
    with suppress(CheckpointError):
        read(bytes(damaged))
    if length < len(VALID):
        with pytest.raises(CheckpointError):
            read(VALID[:length])


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space by /proc/self/statm")
def test_a_hostile_header_costs_little_memory() -> None:
    """With 200 MiB of address space left, the largest header is refused and nothing is allocated."""
    code = """
import io, json, resource, struct, sys
from charrnn.checkpoint.tensors import read_tensors
from charrnn.errors import CheckpointError
pages = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (pages + (200 << 20),) * 2)
for shape, end in ([2**31, 2**31], 4), ([2**38], 2**40), ([0, 2**40], 0):
    header = {"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}}
    text = json.dumps(header).ljust(1 << 20).encode()
    data = struct.pack("<Q", len(text)) + text
    try:
        read_tensors(io.BytesIO(data).read, len(data) + end, "file", {"a": (2, 2)})
    except CheckpointError:
        continue
    sys.exit("accepted")
"""
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
