"""A checkpoint that is damaged, incomplete or hostile is refused by a CheckpointError, whatever the harm."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from checkpoint_examples import SHAPES, Config, example_files, load
from helpers_models import make_model, random_params
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charrnn.checkpoint import Checkpoint, encode_json, encode_tensors, encode_vocab
from charrnn.checkpoint.atomic import write_directory
from charrnn.checkpoint.manifest import make_manifest
from charrnn.checkpoint.reading import MAX_JSON_BYTES, read_json
from charrnn.errors import CheckpointError, UsageError
from charrnn.models.store import load_model, model_files


def save(path: Path, files: dict[str, bytes], step: int = 12) -> Path:
    write_directory(path, {**files, "MANIFEST.json": encode_json(make_manifest(step, files))})
    return path


@pytest.fixture(autouse=True)
def without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save(tmp_path / "checkpoint-00000012", example_files(12))


def assert_refused(path: Path) -> None:
    """Loading and verifying both refuse, in one line that names a file of the checkpoint."""
    for attempt in (load, lambda path: Checkpoint.open(path).verify()):
        with pytest.raises(CheckpointError) as caught:
            attempt(path)
        assert str(caught.value).isprintable()
        assert str(caught.value).startswith(str(path))


def test_loads_on_its_own_wherever_it_is_copied(checkpoint: Path, tmp_path: Path) -> None:
    for name in ("model", "checkpoint-12", "deep/er"):
        copy = tmp_path / "elsewhere" / name
        shutil.copytree(checkpoint, copy)
        Checkpoint.open(copy).verify()
        assert load(copy).step == 12


def test_arrays_are_the_readers_own(checkpoint: Path) -> None:
    found = Checkpoint.open(checkpoint)
    first = found.tensors(SHAPES)
    for array in first.values():
        array += 1
    assert all((array == 12).all() for array in found.tensors(SHAPES).values())


@pytest.mark.parametrize("mask", [0x01, 0x20, 0xFF])
@pytest.mark.parametrize("name", [*example_files(12), "MANIFEST.json"])
def test_a_flip_in_any_byte_is_refused(checkpoint: Path, name: str, mask: int) -> None:
    with (checkpoint / name).open("r+b", buffering=0) as file:
        for position, byte in enumerate(file.read()):
            os.pwrite(file.fileno(), bytes([byte ^ mask]), position)
            assert_refused(checkpoint)
            os.pwrite(file.fileno(), bytes([byte]), position)
    load(checkpoint)


@pytest.mark.parametrize("name", [*example_files(12), "MANIFEST.json"])
def test_any_other_length_is_refused(checkpoint: Path, name: str) -> None:
    path = checkpoint / name
    whole = path.read_bytes()
    for length in reversed(range(len(whole))):
        os.truncate(path, length)
        assert_refused(checkpoint)
    for more in (b"\n", b"\0", b" ", whole):
        path.write_bytes(whole + more)
        assert_refused(checkpoint)


@pytest.mark.parametrize("name", [*example_files(12), "MANIFEST.json"])
def test_what_is_no_regular_file_is_refused(checkpoint: Path, tmp_path: Path, name: str) -> None:
    path = checkpoint / name
    whole = path.read_bytes()
    path.unlink()
    assert_refused(checkpoint)
    path.mkdir()
    assert_refused(checkpoint)
    path.rmdir()
    os.mkfifo(path)  # opening it would wait for a writer
    assert_refused(checkpoint)
    for target in ("nowhere", path, "/dev/zero", tmp_path):
        path.unlink()
        path.symlink_to(target)
        assert_refused(checkpoint)
    path.unlink()
    (tmp_path / "blob").write_bytes(whole)
    path.symlink_to(tmp_path / "blob")
    load(checkpoint)


def rewrite_manifest(checkpoint: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = msgspec.json.decode((checkpoint / "MANIFEST.json").read_bytes())
    change(manifest)
    (checkpoint / "MANIFEST.json").write_bytes(encode_json(manifest))


@pytest.mark.parametrize(
    "name",
    ["../secret", "/etc/passwd", "..", ".", ".hidden", "a/b", "a\\b", "", "a\n", "\x1b[2J", "é", "x" * 101],
)
def test_a_name_that_could_leave_the_directory_is_refused(checkpoint: Path, name: str) -> None:
    entry = {"size": 1, "sha256": "0" * 64}
    rewrite_manifest(checkpoint, lambda manifest: manifest["files"].update({name: entry}))
    assert_refused(checkpoint)


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.update(step=-1),
        lambda manifest: manifest.update(step=13),
        lambda manifest: manifest.update(step="12"),
        lambda manifest: manifest.update(step=True),
        lambda manifest: manifest.update(files=[]),
        lambda manifest: manifest.update(more=1),
        lambda manifest: manifest.pop("step"),
        lambda manifest: manifest["files"].pop("model.safetensors"),
        lambda manifest: manifest["files"].pop("config.json"),
        lambda manifest: manifest["files"].pop("vocab.json"),
        lambda manifest: manifest["files"]["vocab.json"].update(size=-1),
        lambda manifest: manifest["files"]["vocab.json"].update(size=2**64),
        lambda manifest: manifest["files"]["vocab.json"].update(sha256="0" * 63),
        lambda manifest: manifest["files"]["vocab.json"].update(sha256="G" * 64),
        lambda manifest: manifest["files"].update({f"f{i}": {"size": 0, "sha256": "0" * 64} for i in range(100)}),
    ],
)
def test_a_manifest_out_of_bounds_is_refused(checkpoint: Path, change: Callable[[dict[str, Any]], object]) -> None:
    rewrite_manifest(checkpoint, change)
    assert_refused(checkpoint)


def test_a_manifest_has_one_spelling(checkpoint: Path) -> None:
    path = checkpoint / "MANIFEST.json"
    whole = path.read_bytes()
    for other in (
        msgspec.json.encode(msgspec.json.decode(whole)),
        whole.replace(b"\n", b"\r\n"),
        whole.replace(b'"step"', b'"\\u0073tep"'),
        whole.replace(b'"step": 12,', b'"step": 11,\n  "step": 12,'),
    ):
        assert other != whole
        path.write_bytes(other)
        assert_refused(checkpoint)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=100) | st.text(max_size=50).map(encode_json))
def test_noise_for_a_manifest_is_refused(checkpoint: Path, noise: bytes) -> None:
    (checkpoint / "MANIFEST.json").write_bytes(noise)
    assert_refused(checkpoint)


def test_the_training_state_may_be_left_out(tmp_path: Path) -> None:
    files = example_files(12)
    del files["training_state.safetensors"], files["trainer_state.json"]
    found = Checkpoint.open(save(tmp_path / "published", files))
    found.verify()
    assert found.tensors(SHAPES)
    for attempt in (found.training_tensors, lambda: found.json("trainer_state.json", dict)):
        with pytest.raises(CheckpointError, match="saved without"):
            attempt()


def test_files_that_are_not_listed_are_never_read(checkpoint: Path) -> None:
    (checkpoint / "README.md").write_bytes(b"a model")
    (checkpoint / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    Checkpoint.open(checkpoint).verify()
    load(checkpoint)
    with pytest.raises(CheckpointError, match=r"saved without README\.md"):
        Checkpoint.open(checkpoint).json("README.md", str)


def test_model_sha256_depends_on_the_weights_alone(tmp_path: Path) -> None:
    files = example_files(12)
    other = {**files, "trainer_state.json": b"{}", "vocab.json": encode_vocab("xyz")}
    sums = [Checkpoint.open(save(tmp_path / name, f)).model_sha256 for name, f in (("a", files), ("b", other))]
    assert sums[0] == sums[1]
    changed = {**files, "model.safetensors": encode_tensors({"a": np.zeros(1, np.float32)})}
    assert Checkpoint.open(save(tmp_path / "c", changed)).model_sha256 != sums[0]


SYMBOLS = st.characters(exclude_categories=["Cs"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(SYMBOLS, min_size=1, max_size=30))
def test_vocabulary_comes_back_by_code_point(tmp_path: Path, symbols: set[str]) -> None:
    files = {**example_files(12), "vocab.json": encode_vocab(list(symbols))}
    shutil.rmtree(tmp_path / "a", ignore_errors=True)
    assert Checkpoint.open(save(tmp_path / "a", files)).vocab() == sorted(symbols, key=ord)


@pytest.mark.parametrize(
    "text",
    [
        b'{"symbols": []}',
        b'{"symbols": ["a", "a"]}',
        b'{"symbols": ["b", "a"]}',
        b'{"symbols": ["a", "' + 65 * b"b" + b'"]}',
        b'{"symbols": ["", "a"]}',
        b'{"symbols": ["\\ud800"]}',
        b'{"symbols": ["\xff"]}',
        b'{"symbols": [97]}',
        b'{"symbols": "ab"}',
        b'["a", "b"]',
        b"{}",
    ],
)
def test_a_bad_vocabulary_is_refused(tmp_path: Path, text: bytes) -> None:
    found = Checkpoint.open(save(tmp_path / "a", {**example_files(12), "vocab.json": text}))
    with pytest.raises(CheckpointError, match=r"vocab\.json"):
        found.vocab()


def test_the_symbols_of_what_generates_text_are_characters(tmp_path: Path) -> None:
    """Those of other models may be longer."""
    model = make_model("tanh", vocab_size=2)
    params = random_params(model.shapes, dtype=np.float32)
    files = model_files(model.config, params, ["a", "bc"])  # type: ignore[arg-type]
    found = Checkpoint.open(save(tmp_path / "a", files))
    assert found.vocab() == ["a", "bc"]
    with pytest.raises(CheckpointError, match=r"vocab\.json: every symbol of a vocabulary must be one character"):
        load_model(found)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b'{"hidden_size": 3}{}',
        b'{"hidden_size": NaN}',
        b'{"hidden_size": Infinity}',
        b'{"hidden_size": 1e999}',
        b'{"hidden_size": 3.0}',
        b'{"hidden_size": true}',
        b'{"hidden_size": "3"}',
        b'{"hidden_size": 3, "\\u001b[2J\\n": 1}',
        b'{"hidden_size": 3, "' + b"x" * 10_000 + b'": 1}',
        b'{"hidden_size": ' + b"9" * 10_000 + b"}",
        b'{"a": ' + b"[" * 1_000_000,
        b"[" * 1_000_000,
        b"\xff\xfe{\0}\0",
        b"cos\nsystem\n(S'exit 1'\ntR.",
    ],
)
def test_bad_json_is_refused_in_one_line(tmp_path: Path, text: bytes) -> None:
    found = Checkpoint.open(save(tmp_path / "a", {**example_files(12), "config.json": text}))
    with pytest.raises(CheckpointError, match=r"config\.json") as caught:
        found.config(Config)
    detail = str(caught.value).removeprefix(str(tmp_path))
    assert detail.isprintable()
    assert len(detail) < 400


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(CheckpointError, match=f"larger than {MAX_JSON_BYTES}"):
        read_json(path, dict)


def test_json_written_is_strict() -> None:
    assert (
        encode_json({"loss": float("nan"), "best": [float("-inf")]})
        == b'{\n  "loss": null,\n  "best": [\n    null\n  ]\n}\n'
    )
    with pytest.raises(UsageError, match="rename"):
        encode_json({"argv": [os.fsdecode(b"caf\xe9.txt")]})
