"""How the C library treats memory that a training step has freed."""

from __future__ import annotations

import ctypes
import platform

# Options of glibc's mallopt (malloc.h), and what glibc takes at most as a threshold for blocks of their own.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
GREATEST_MMAP_THRESHOLD = 32 * 2**20
TOP_PAD = 64 * 2**20
KEPT = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it has freed, and use it again.

    A training step frees some hundred megabytes and needs the same the next moment. By itself glibc returns them to the
    kernel, which then clears every page anew: up to a fifth of a step, and more where other processes want memory too.
    What a process once used stays its own until it ends.

    Returns:
        Whether the C library is glibc, and took it.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    options = {M_TRIM_THRESHOLD: KEPT, M_TOP_PAD: TOP_PAD, M_MMAP_THRESHOLD: GREATEST_MMAP_THRESHOLD}
    return all(mallopt(option, value) == 1 for option, value in options.items())
