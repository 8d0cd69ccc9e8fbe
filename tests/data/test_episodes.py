"""The episodes file: what is written is read, and what is wrong is refused by name."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from misodice.data.episodes import Episode, Episodes, EpisodesWriter, Header
from misodice.errors import MisodiceError
from tests.helpers.cli import fit


def make_episode(rng: np.random.Generator, steps: int, n: int, obs: int, state: int, actions: int, discrete: bool):
    available = rng.random((steps + 1, n, actions)) < 0.5
    available[..., 0] = True
    chosen = np.where(available[:-1], rng.random((steps, n, actions)), -1.0).argmax(axis=-1)
    ends = np.arange(steps) == steps - 1
    terminated = ends & (rng.random() < 0.5)
    return Episode(
        obs=rng.normal(size=(steps + 1, n, obs)).astype(np.float32),
        state=rng.normal(size=(steps + 1, state)).astype(np.float32),
        actions=chosen if discrete else rng.normal(size=(steps, n, actions)).astype(np.float32),
        terminated=terminated,
        truncated=ends & ~terminated,
        rewards=rng.normal(size=steps).astype(np.float32),
        available_actions=available if discrete else None,
        won=bool(rng.random() < 0.5),
        source=str(rng.choice(["expert", "poor", "schlecht ü"])),
    )


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    sizes=st.tuples(*[st.integers(1, 5)] * 4),
    discrete=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_what_is_written_is_read(tmp_path, lengths, sizes, discrete, seed):
    rng = np.random.default_rng(seed)
    written = [make_episode(rng, steps, *sizes, discrete) for steps in lengths]
    header = Header({"engine": "smax", "task": "x"}, ["a"] * sizes[1], ["b"] * sizes[2], 0.4, "a test")
    with EpisodesWriter(tmp_path / "x.h5", header) as writer:
        for episode in written:
            writer.add(episode)
    read = Episodes.read(tmp_path / "x.h5")
    assert read.header == header
    assert read.length.tolist() == lengths
    for one, other in zip(written, read, strict=True):
        for name, value in vars(one).items():
            found = getattr(other, name)
            assert np.array_equal(found, value) if isinstance(value, np.ndarray) else found == value, name
    assert read.returns == pytest.approx([episode.rewards.sum() for episode in written], abs=1e-4)


def rewrite(name: str, change):
    """A fault that replaces field `name` by what `change` makes of it."""

    def fault(file: h5py.File) -> None:
        values = file[name][:]
        del file[name]
        file[name] = change(values)

    return fault


def put(name: str, index: object, value: object):
    def change(values: np.ndarray) -> np.ndarray:
        values[index] = value
        return values

    return rewrite(name, change)


def forbid(file: h5py.File) -> None:
    file["available_actions"][0, 2, int(file["actions"][0, 2])] = False


def link(file: h5py.File) -> None:
    """obs lies in another file."""
    with h5py.File(str(file.filename) + ".other", "w") as other:
        file.copy("obs", other)
    del file["obs"]
    file["obs"] = h5py.ExternalLink(str(file.filename) + ".other", "obs")


def raw(file: h5py.File) -> None:
    """The states are another file's bytes."""
    shape = file["state"].shape
    Path(str(file.filename) + ".raw").write_bytes(bytes(4 * shape[0] * shape[1]))
    del file["state"]
    file.create_dataset("state", shape, "f4", external=str(file.filename) + ".raw")


def virtual(file: h5py.File) -> None:
    """The rewards are a view of another file."""
    link(file)
    layout = h5py.VirtualLayout(file["rewards"].shape, "f4")
    layout[:] = h5py.VirtualSource(str(file.filename) + ".other", "obs", file["rewards"].shape)
    del file["rewards"], file["obs"]
    file.create_virtual_dataset("rewards", layout)
    with h5py.File(str(file.filename) + ".other") as other:
        other.copy("obs", file)


FAULTS = [
    (lambda f: f.attrs.__setitem__("version", 2), ["version 2", "expected 1"]),
    (lambda f: f.attrs.__setitem__("format", "d4rl"), ["'d4rl'", "misodice-episodes", "convert"]),
    (lambda f: f.attrs.__setitem__("env", "[]"), ["env is []", "JSON object"]),
    *[
        (lambda f, name=name: f.__delitem__(name), [f"'{name}'", "missing"])
        for name in ("obs", "state", "actions", "terminated", "truncated", "episode/length", "available_actions")
    ],
    (rewrite("obs", lambda x: x[:-1]), ["obs", "rows"]),
    (rewrite("state", lambda x: x[:, :, None]), ["state", "3 dimensions"]),
    (rewrite("actions", lambda x: x[:, :-1]), ["actions", "4 agents", "5"]),
    (rewrite("rewards", lambda x: x[:-3]), ["rewards", "rows"]),
    (rewrite("episode/source", lambda x: x[:-1]), ["source", "31 rows", "32"]),
    (put("episode/length", 3, 0), ["episode/length", "length 0 at episode 3", "at least 1 step"]),
    (put("episode/length", 3, 7000), ["found", "7"]),
    (put("obs", (5, 0, 0), np.nan), ["obs", "NaN or infinity in row 5"]),
    (put("state", (6, 0), -np.inf), ["state", "NaN or infinity in row 6"]),
    (put("rewards", 7, np.inf), ["rewards", "row 7"]),
    (put("actions", (8, 1), 99), ["actions", "99"]),
    (put("actions", (8, 1), -1), ["actions", "-1"]),
    (link, ["'obs'", "another file"]),
    (raw, ["'state'", "another file"]),
    (virtual, ["'rewards'", "another file"]),
    (forbid, ["agent 2 at transition 0", "available_actions forbids"]),
]


@pytest.mark.parametrize(("fault", "words"), FAULTS)
def test_a_fault_is_refused_by_name(smax_file, tmp_path, fault, words):
    path = tmp_path / "bad.h5"
    shutil.copy(smax_file, path)
    with h5py.File(path, "a") as file:
        fault(file)
    with pytest.raises(MisodiceError) as caught:
        Episodes.read(path)
    message = str(caught.value)
    assert str(path) in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"obs,state\n1,2\n", "not a readable HDF5"), (b"", "not a readable HDF5"), (None, "no such file")],
)
def test_what_is_no_episodes_file(tmp_path, content, words):
    path = tmp_path / "bad.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MisodiceError, match=words):
        Episodes.read(path)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0.0, 0.999))
def test_a_file_cut_anywhere_is_refused(smax_file, tmp_path, share):
    content = smax_file.read_bytes()
    path = tmp_path / "cut.h5"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(MisodiceError, match=r"cut\.h5"):
        Episodes.read(path)


def test_a_bad_file_ends_fit_before_training(smax_file, tmp_path, capsys):
    path = tmp_path / "bad.h5"
    shutil.copy(smax_file, path)
    with h5py.File(path, "a") as file:
        file["obs"][5] = np.nan
    fit(tmp_path / "run", path, status=2)
    assert "row 5" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_writer_that_fails_leaves_the_old_file(smax_file, tmp_path):
    path = tmp_path / "x.h5"
    shutil.copy(smax_file, path)
    before = path.read_bytes()
    episodes = Episodes.read(path)

    def write_half() -> None:
        with EpisodesWriter(path, episodes.header) as writer:
            writer.add(episodes[0])
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.h5"]


def test_a_folder_that_cannot_be_written(smax_file):
    header = Episodes.read(smax_file).header
    with pytest.raises(MisodiceError, match="cannot be written"), EpisodesWriter(Path("/proc/x/y.h5"), header):
        pass


def test_a_file_need_not_name_an_environment(tmp_path):
    episodes = Episodes.from_arrays(
        np.zeros((5, 2, 3)), np.zeros((3, 2), int), [1, 2], rewards=np.arange(3.0), n_actions=4
    )
    episodes.write(tmp_path / "own.h5")
    with h5py.File(tmp_path / "own.h5", "r+") as file:
        del file.attrs["env"]
    read = Episodes.read(tmp_path / "own.h5")
    assert read.header.env == {}
    assert read.returns is not None
    assert read.returns.tolist() == [0.0, 3.0]
    assert read.terminated.tolist() == [True, False, True]
    assert (read.n_actions, read.state.shape) == (4, (5, 6))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"length": [1, 1]}, ["obs", "5 rows", "4"]),
        ({"actions": np.full((3, 2), 4)}, ["actions", "0…3"]),
        ({"rewards": np.array([0.0, np.nan, 0.0])}, ["rewards", "NaN"]),
        ({"obs": np.zeros((5, 3))}, ["obs", "2 dimensions"]),
        ({"length": []}, ["episode/length", "at least one episode"]),
        ({"actions": np.zeros((0, 2), int), "length": [0]}, ["episode/length"]),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, words):
    arrays = {"obs": np.zeros((5, 2, 3)), "actions": np.zeros((3, 2), int), "length": [1, 2], "n_actions": 4}
    with pytest.raises(MisodiceError) as error:
        Episodes.from_arrays(**arrays | change)
    assert all(word in str(error.value) for word in words), str(error.value)
