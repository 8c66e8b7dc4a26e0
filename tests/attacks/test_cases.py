"""What the fuzzers found, and inputs that reach most branches of each parser; see `fuzz.py`."""

from functools import cache
from pathlib import Path

import pytest
from fuzz import CASES, PARSERS, Harness, check


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@cache
def harness_of(name: str, folder: Path) -> Harness:
    return PARSERS[name](folder)


@pytest.mark.parametrize("name", PARSERS)
def test_every_parser_has_cases(name: str) -> None:
    assert any((CASES / name).iterdir())


@pytest.mark.parametrize("path", sorted(CASES.glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_only_errors_of_charrnn_come_out(path: Path, folder: Path) -> None:
    check(harness_of(path.parent.name, folder), path.read_bytes())
