"""Small real data, made once: SMAX episodes of the bundled behaviours."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Two workers on two cores: a second thread of each would be in the other's way, and the networks are small.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A process that a test starts need not compile the whole package anew, whatever the surroundings say.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# SMAX is compiled anew for each environment: quickly rather than well, for a test's few steps take less
# time than the compiler. The cache keeps what an earlier test or run compiled.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent.parent / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

import pytest
from hypothesis import settings

from misodice.envs import SMAX, MaMuJoCo, Source
from misodice.rollout.collect import collect
from misodice.runs.pictures import new_figure
from tests.helpers.options import Lines
from tests.helpers.tiny_engine import Tiny

# How long an example takes is the machine's affair.
settings.register_profile("misodice", deadline=None)
settings.load_profile("misodice")


@pytest.fixture(autouse=True)
def same_path() -> Iterator[None]:
    """`main` adds the current folder to the module search path: the next test must not import from it."""
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.fixture
def sigint() -> Iterator[None]:
    """Lightning ignores Ctrl-C for good once it was interrupted."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture(scope="session", autouse=True)
def plain_pictures() -> Iterator[None]:
    """Each run draws labels.png, and arranging the parts of a picture takes longer than drawing them."""

    def plain(width: float, height: float) -> Any:
        figure = new_figure(width, height)
        figure.set_layout_engine("none")
        return figure

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("misodice.labelling.quality.new_figure", plain)
        yield


@pytest.fixture(scope="session")
def smax_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "zerg.h5"
    sources = [Source("zerg_5_vs_5_expert", 12, "expert"), Source("random", 20, "random")]
    collect(SMAX("zerg_5_vs_5"), sources, path, seed=0)
    return path


@pytest.fixture(scope="session")
def hopper_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "hopper.h5"
    sources = [Source("hopper_v5_poor", 8, "expert"), Source("random", 12, "random")]
    collect(MaMuJoCo("Hopper", "3x1"), sources, path, seed=0)
    return path


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes of the tiny game, which needs no package."""
    path = tmp_path_factory.mktemp("data") / "tiny.h5"
    collect(Tiny(), Tiny().default_sources(), path, seed=0)
    return path


@pytest.fixture(scope="session")
def lines() -> Lines:
    """The parser of `misodice fit`."""
    return Lines()
