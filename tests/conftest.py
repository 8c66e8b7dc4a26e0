"""One thread for every library, and property tests that are the same on every run."""

import os
import signal

import pytest
from hypothesis import settings

for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    # Ignored in a worker, in a job that a shell put into the background, and under nohup: the commands that the
    # tests interrupt would not notice.
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

# Read by torch and NumPy when they are loaded, here, in every worker and in every command that a test starts.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

settings.register_profile("charrnn", deadline=None, derandomize=True, database=None)
settings.load_profile("charrnn")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """No worker beside this process where speed is measured, else as many as there are cores."""
    return 0 if config.getoption("benchmark_only") else None
