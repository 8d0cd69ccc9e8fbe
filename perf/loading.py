"""Seconds and peak memory of loading an episodes file: python perf/loading.py FILE"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np

from misodice.data.episodes import Episodes
from misodice.datamodules.table import TransitionTable


def peak() -> float:
    """MiB, of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    before, started = peak(), time.perf_counter()
    episodes = Episodes.read(sys.argv[1])
    TransitionTable.of(episodes)
    seconds = time.perf_counter() - started
    size = sum(values.nbytes for values in vars(episodes).values() if isinstance(values, np.ndarray)) / 2**20
    print(
        f"{episodes.n_transitions} transitions, {size:.0f} MiB of arrays: {seconds:.1f} s, "
        f"peak {peak() - before:.0f} MiB ({(peak() - before) / size:.2f} times)"
    )
