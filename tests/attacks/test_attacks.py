"""A share of the attacks, all of which fail; `python tests/attacks NAME` makes the whole of one."""

from importlib import import_module
from pathlib import Path

import pytest
from report import Table

SHARES = {
    "kills": 40,
    "power": 60,
    "readers": 500,
    "starts": 20,
    "changes": 10,
    "terminals": 40,
    "disks": 40,
    "tampering": 1_000,
    "interrupts": 20,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHARES)
def test_nothing_gets_through(name: str, tmp_path: Path) -> None:
    table = Table()
    table.add(import_module(name).attack(SHARES[name], 1, tmp_path))
    assert sum(table.tries.values()) >= SHARES[name]
    assert not table.num_failures, "\n".join(table.lines())
