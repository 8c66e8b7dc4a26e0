"""One thread for every library, and property tests that are the same on every run."""

import os
import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in a job that a shell put into the background: the commands that the tests interrupt would not notice.
    signal.signal(signal.SIGINT, signal.default_int_handler)

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import torch  # noqa: E402
from hypothesis import settings  # noqa: E402

torch.set_num_threads(1)

settings.register_profile("charrnn", deadline=None, derandomize=True, database=None)
settings.load_profile("charrnn")
