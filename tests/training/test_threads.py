"""How long torch's threads spin is set before torch is loaded, and a person's own setting holds."""

import os

import torch

from charrnn.training.threads import SPINS, limit_omp_spinning


def test_threads_wait_briefly_unless_told_otherwise(monkeypatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    limit_omp_spinning()
    assert os.environ["GOMP_SPINCOUNT"] == SPINS
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    limit_omp_spinning()
    assert os.environ["GOMP_SPINCOUNT"] == "7"


def test_a_wait_policy_of_ones_own_is_left_alone(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setenv("GOMP_SPINCOUNT", "")
    monkeypatch.delenv("GOMP_SPINCOUNT")
    limit_omp_spinning()
    assert "GOMP_SPINCOUNT" not in os.environ


def test_a_test_has_one_thread():
    """In whichever worker it runs: the environment is set before torch is loaded."""
    assert torch.get_num_threads() == 1
