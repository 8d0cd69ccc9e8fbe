"""The episodes file: what is written is read, and what is wrong is refused by name."""

import json
import logging
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st

from misodice.data.episodes import Episode, Episodes, EpisodesWriter, Header
from misodice.errors import MisodiceError
from tests.helpers.cli import fit
from tests.helpers.own_file import LENGTHS, own_fields, own_file


def make_episode(rng: np.random.Generator, steps: int, n: int, obs: int, state: int, actions: int, discrete: bool):
    available = rng.random((steps + 1, n, actions)) < 0.5
    available[..., 0] = True
    chosen = np.where(available[:-1], rng.random((steps, n, actions)), -1.0).argmax(axis=-1)
    ends = np.arange(steps) == steps - 1
    terminated = ends & (rng.random() < 0.5)
    return Episode(
        obs=rng.normal(size=(steps + 1, n, obs)).astype(np.float32),
        state=rng.normal(size=(steps + 1, state)).astype(np.float32),
        actions=chosen if discrete else rng.uniform(-1, 1, (steps, n, actions)).astype(np.float32),
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
    with EpisodesWriter(tmp_path / "x.h5", header, overwrite=True) as writer:
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
    (put("episode/length", 3, 7000), ["episode/length", "steps in all", "the rows of actions"]),
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
    fit(tmp_path / "run", path, config="smacv2_zerg", status=2)
    assert "row 5" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_writer_that_fails_leaves_the_old_file(smax_file, tmp_path):
    path = tmp_path / "x.h5"
    shutil.copy(smax_file, path)
    before = path.read_bytes()
    episodes = Episodes.read(path)

    def write_half() -> None:
        with EpisodesWriter(path, episodes.header, overwrite=True) as writer:
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
        ({"length": [1, 1]}, ["episode/length", "2 steps in all", "3, the rows of actions"]),
        ({"obs": np.zeros((4, 2, 3))}, ["obs", "4 rows", "5"]),
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


# --- files of a user's own -----------------------------------------------------------------------------------------


def fields(**changes):
    """An edit of `own_file`: each field becomes what its function makes of it; None leaves it out."""

    def edit(data, attributes):
        for name, change in changes.items():
            name = name.replace("__", "/")
            data[name] = change(data[name]) if callable(change) else change

    return edit


def attributes(**changes):
    def edit(data, attrs):
        attrs.update(changes)

    return edit


def text(values):
    return np.array(list(map(str, values)), object)


READ_AS_MEANT = {
    "names as an array of strings": attributes(obs_features=["x", "y", "z"]),
    "names as fixed-length bytes": attributes(obs_features=np.array([b"x", b"y", b"z"])),
    "names as JSON in bytes": attributes(obs_features=np.bytes_(b'["x", "y", "z"]')),
    "env in bytes": attributes(env=np.bytes_(b'{"task": "mine"}')),
    "version as a float": attributes(version=1.0),
    "version as an array": attributes(version=np.array([1])),
    "format in bytes": attributes(format=np.bytes_(b"misodice-episodes")),
    "action_scale as an array": attributes(action_scale=np.array([1.0])),
    "rewards [T, 1]": fields(rewards=lambda x: x[:, None]),
    "flags [T, 1] as integers": fields(
        terminated=lambda x: x[:, None].astype("u1"), truncated=lambda x: x.astype("f8")
    ),
    "return, won and length [E, 1]": fields(
        episode__return=lambda x: x[:, None], episode__won=lambda x: x[:, None], episode__length=lambda x: x[:, None]
    ),
    "lengths as floats": fields(episode__length=lambda x: x.astype("f8")),
    "lengths unsigned": fields(episode__length=lambda x: x.astype("u2")),
    "won as integers": fields(episode__won=lambda x: x.astype("i8")),
    "source as fixed-length bytes": fields(episode__source=lambda x: x.astype("S6")),
    "source [E, 1]": fields(episode__source=lambda x: x[:, None]),
    "big-endian": fields(obs=lambda x: x.astype(">f4"), state=lambda x: x.astype(">f8")),
    "no returns": fields(episode__return=None),
}


@pytest.mark.parametrize("edit", READ_AS_MEANT.values(), ids=READ_AS_MEANT)
def test_a_file_of_ones_own_is_read_as_meant(tmp_path, edit):
    episodes, meant = Episodes.read(own_file(tmp_path / "own.h5", edit)), own_fields()
    assert episodes.header == Header({"task": "mine"}, list("xyz"), list("abcde"), 1.0, "")
    assert episodes.length.tolist() == list(LENGTHS)
    for name in ("obs", "state", "actions", "rewards", "terminated", "truncated"):
        np.testing.assert_array_equal(getattr(episodes, name), meant[name])
    np.testing.assert_array_equal(episodes.returns, meant["episode/return"])
    assert episodes.won.tolist() == [True, False, True, False]
    assert episodes.source.tolist() == ["expert", "poor", "expert", "poor"]


@pytest.mark.parametrize(
    "edit",
    [
        fields(actions=lambda x: x[..., None].astype("i2")),
        fields(actions=lambda x: x.astype("f4")),
        fields(available_actions=lambda x: x.astype("f4")),
        fields(available_actions=lambda x: x.astype("i4"), actions=lambda x: x.astype("u1")),
    ],
)
def test_discrete_actions_of_another_type(tmp_path, edit):
    episodes, meant = Episodes.read(own_file(tmp_path / "own.h5", edit, discrete=True)), own_fields(discrete=True)
    np.testing.assert_array_equal(episodes.actions, meant["actions"])
    assert episodes.actions.dtype == np.int64
    np.testing.assert_array_equal(episodes.available_actions, meant["available_actions"])


REFUSED = [
    # attributes
    (attributes(obs_features="x,y,z"), ["obs_features", "'x,y,z'", "a list of names", "JSON"]),
    (attributes(obs_features="[1, 2, 3]"), ["obs_features", "[1, 2, 3]", "a list of names"]),
    (attributes(obs_features=["x", "y"]), ["obs_features", "2 names", "3, one for each entry of obs"]),
    (attributes(state_features=np.zeros((5, 1))), ["state_features", "a list of names"]),
    (attributes(env='["mamujoco"]'), ["env is", "JSON object"]),
    (attributes(env="Hopper"), ["env is Hopper", "JSON object"]),
    (attributes(env=3), ["env is", "JSON object"]),
    (attributes(env='{"engine": 3}'), ["env['engine']", "3", "text"]),
    (attributes(env='{"task": "x", "p": NaN}'), ["env is", "JSON object"]),
    (attributes(version="one"), ["version is 'one'", "the number 1"]),
    (attributes(version=None), ["version is missing"]),
    (attributes(version=1.5), ["version is", "1.5", "the number 1"]),
    (attributes(version=np.array([1, 1])), ["version is", "the number 1"]),
    (attributes(version=2.0), ["version 2", "expected 1"]),
    (attributes(action_scale=0.0), ["action_scale", "one number above 0"]),
    (attributes(action_scale="4"), ["action_scale", "one number above 0"]),
    (attributes(action_scale=np.inf), ["action_scale", "one number above 0"]),
    # shapes that can be read in two ways
    (fields(terminated=lambda x: np.repeat(x[:, None], 2, 1)), ["terminated", "[10, 2]", "[T]", "whole episode"]),
    (fields(rewards=lambda x: np.repeat(x[:, None], 2, 1)), ["rewards", "[10, 2]", "[T]", "mean", "sum"]),
    (fields(actions=lambda x: x[..., 0]), ["actions", "floats of shape [10, 2]", "floats [T, n, A]"]),
    (fields(actions=lambda x: np.sign(x).astype(int)), ["actions", "integers of shape [10, 2, 2]", "argmax"]),
    (fields(actions=lambda x: x[:, 0, 0]), ["actions", "shape [10]"]),
    (fields(episode__return=lambda x: np.repeat(x[:, None], 2, 1)), ["episode/return", "[4, 2]", "[E]"]),
    (fields(available_actions=np.ones((14, 2, 2), bool)), ["actions", "floats", "beside available_actions"]),
    # types
    (fields(episode__length=lambda x: x + 0.5), ["episode/length", "3.5 at [0]", "whole numbers"]),
    (fields(episode__length=lambda x: -x), ["episode/length", "length -4 at episode 2"]),
    (fields(episode__length=lambda x: x.astype("f8") * np.nan), ["episode/length", "nan", "whole numbers"]),
    (fields(episode__length=lambda x: x > 0), ["episode/length", "type bool"]),
    (fields(episode__won=text), ["episode/won", "numbers"]),
    (fields(episode__won=lambda x: x * 2), ["episode/won", "2 at [0]", "0 or 1"]),
    (fields(episode__source=np.arange(4)), ["episode/source", "text"]),
    (fields(episode__source=np.array([b"\xff"] * 4)), ["episode/source", "UTF-8"]),
    (fields(obs=lambda x: x.astype("c8")), ["obs", "complex", "numbers"]),
    (fields(state=lambda x: np.zeros(x.shape, [("a", "f4")])), ["state", "record", "numbers"]),
    (fields(obs=lambda x: x.astype("f8") * 1e300), ["obs", "inf as float32", "row 0"]),
    (fields(terminated=lambda x: x * 0.5), ["terminated", "0.5 at", "0 or 1"]),
    # values
    (fields(obs=lambda x: x[..., :0]), ["obs", "[14, 2, 0]", "no empty axis"]),
    (fields(state=lambda x: x[:, :0]), ["state", "no empty axis", "side by side"]),
    (fields(obs=lambda x: x[:, :0], actions=lambda x: x[:, :0]), ["obs", "no empty axis"]),
    (fields(actions=lambda x: x[..., :0]), ["actions", "no empty axis"]),
    (fields(actions=lambda x: x * 3), ["actions", "agent", "of episode", "within ±1", "action_scale"]),
    (
        fields(terminated=lambda x: np.roll(x, -1)),
        ["terminated", "step 1 of episode 0", "last step", "cut the episode"],
    ),
    (fields(truncated=lambda x: ~x), ["truncated", "step 0 of episode 0"]),
    (fields(rewards=lambda x: np.where(np.arange(10) == 5, np.nan, x)), ["rewards", "row 5", "step 1 of episode 2"]),
    (fields(terminated=None, truncated=None), ["'terminated'", "missing"]),
    (
        fields(rewards=lambda x: np.full(10, 3e38, "f4"), episode__return=None),
        ["rewards", "beyond float32", "episode 0"],
    ),
    (fields(**{name: (lambda x: x[:0]) for name in own_fields()}), ["episode/length", "at least one episode"]),
]


@pytest.mark.parametrize(("edit", "words"), REFUSED)
def test_a_file_of_ones_own_is_refused_in_one_line(tmp_path, edit, words):
    with pytest.raises(MisodiceError) as caught:
        Episodes.read(own_file(tmp_path / "own.h5", edit))
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in [str(tmp_path / "own.h5"), *words]), message


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (fields(actions=lambda x: x + 0.5), ["actions", "0.5", "whole numbers"]),
        (fields(actions=lambda x: np.eye(2)[x]), ["actions", "beside available_actions", "argmax"]),
        (fields(available_actions=lambda x: x * 2), ["available_actions", "2 at [0, 0, 0]", "0 or 1"]),
        (fields(available_actions=lambda x: x[:10]), ["available_actions", "10 rows", "14"]),
        (fields(available_actions=lambda x: x[:, 0]), ["available_actions", "2 dimensions"]),
        (fields(available_actions=None), ["available_actions", "missing", "all true"]),
        (fields(available_actions=None, actions=lambda x: x * 1.0), ["actions", "floats of shape [10, 2]"]),
    ],
)
def test_discrete_actions_that_are_none(tmp_path, edit, words):
    with pytest.raises(MisodiceError) as caught:
        Episodes.read(own_file(tmp_path / "own.h5", edit, discrete=True))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_returns_that_are_not_the_sums_are_kept_and_told(tmp_path, caplog):
    path = own_file(tmp_path / "own.h5", fields(episode__return=lambda x: x + np.array([0, 5, 0, 0])))
    with caplog.at_level(logging.WARNING):
        episodes = Episodes.read(path)
    assert len(caplog.records) == 1
    assert "episode/return of episode 1" in caplog.text
    assert "1 of 4 episodes differ" in caplog.text
    episodes.write(tmp_path / "again.h5")
    np.testing.assert_array_equal(Episodes.read(tmp_path / "again.h5").returns, episodes.returns)
    caplog.clear()
    Episodes.read(own_file(tmp_path / "own.h5", fields(episode__return=lambda x: x.astype("f2"))))
    assert not caplog.records  # a matter of rounding


def test_returns_without_rewards_are_kept(tmp_path):
    episodes = Episodes.read(own_file(tmp_path / "own.h5", fields(rewards=None)))
    assert episodes.rewards is None
    episodes.write(tmp_path / "again.h5")
    np.testing.assert_array_equal(Episodes.read(tmp_path / "again.h5").returns, own_fields()["episode/return"])


def test_a_file_is_told_in_one_short_line(tmp_path):
    episodes = Episodes.read(own_file(tmp_path / "own.h5"))
    assert repr(episodes) == (
        "Episodes(4 episodes, 10 transitions, 2 agents, obs 3, state 5, 2 continuous actions, task mine)"
    )
    assert repr(episodes[1]) == "Episode(1 steps, obs [2, 2, 3], state [2, 5], actions [1, 2, 2], source 'poor')"
    assert repr(episodes[-1]) == repr(episodes[3])
    with pytest.raises(IndexError):
        _ = episodes[4]


# --- arrays of a user's own ----------------------------------------------------------------------------------------

ARRAYS = {
    "obs": np.arange(30.0).reshape(5, 2, 3),
    "actions": np.full((3, 2, 2), 0.5),
    "length": [1, 2],
    "rewards": np.arange(3.0),
    "source": ["expert", "poor"],
}


@pytest.mark.parametrize(
    "change",
    [
        {"rewards": np.arange(3.0)[:, None]},
        {"rewards": [0, 1, 2]},
        {"length": np.array([[1.0], [2.0]])},
        {"obs": ARRAYS["obs"].tolist(), "actions": ARRAYS["actions"].tolist()},
        {name: torch.as_tensor(value) for name, value in ARRAYS.items() if name != "source"},
        {"obs": np.ma.masked_array(ARRAYS["obs"])},
        {"header": Header(env={"n": np.int64(3), "sizes": (1, 2)}, obs_features=("x", "y", "z"))},
        {"truncated": [0, 0, 0], "terminated": [1, 0, 1]},
    ],
)
def test_arrays_of_other_types_are_taken_as_meant(tmp_path, change):
    episodes = Episodes.from_arrays(**ARRAYS | change)
    np.testing.assert_array_equal(episodes.obs, ARRAYS["obs"])
    np.testing.assert_array_equal(episodes.actions, ARRAYS["actions"])
    assert episodes.returns.tolist() == [0.0, 3.0]
    assert episodes.terminated.tolist() == [True, False, True]
    episodes.write(tmp_path / "x.h5")
    assert Episodes.read(tmp_path / "x.h5").header == episodes.header


def test_one_name_may_stand_for_all_and_a_time_limit_for_an_end():
    episodes = Episodes.from_arrays(**ARRAYS | {"source": "expert", "truncated": [False, False, True]})
    assert episodes.source.tolist() == ["expert"] * 2
    assert episodes.terminated.tolist() == [True, False, False]
    masked = {"actions": np.ones((3, 2, 1), int), "available_actions": np.ones((5, 2, 4))}
    assert Episodes.from_arrays(**ARRAYS | masked).actions.tolist() == [[1, 1]] * 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rewards": np.zeros((3, 2))}, ["rewards", "[3, 2]", "mean", "sum"]),
        ({"actions": np.ones((3, 2, 1), int)}, ["actions", "integers of shape [3, 2, 1]"]),
        ({"actions": np.ones((3, 2))}, ["actions", "floats of shape [3, 2]"]),
        ({"actions": np.full((3, 2, 2), 4.0)}, ["actions", "4 of agent 0 at step 0 of episode 0", "±1"]),
        ({"actions": np.ones((3, 2), bool)}, ["actions", "type bool"]),
        ({"actions": np.array([[0, 10**9]] * 3)}, ["actions", "1000000000", "n_actions"]),
        ({"actions": np.array([[0, -1]] * 3)}, ["actions", "-1", "count actions from 0"]),
        ({"actions": 3}, ["actions", "an array"]),
        ({"actions": None}, ["actions", "an array"]),
        ({"actions": [[1, 2], [1], [2, 1]]}, ["actions", "a list that numpy cannot read"]),
        ({"available_actions": np.ones((5, 2, 2))}, ["actions", "beside available_actions"]),
        ({"terminated": [0, 1, 1]}, ["terminated", "step 0 of episode 1", "last step"]),
        ({"header": Header(obs_features=["x"])}, ["obs_features", "1 names", "3"]),
        ({"header": {"env": {}}}, ["header", "expected a Header", "Header(env="]),
        ({"header": Header(obs_features="xyz")}, ["obs_features", "'xyz'", "a list of names"]),
        ({"header": Header(env={"a": {1, 2}})}, ["env", "set"]),
        ({"header": Header(env={"a": float("nan")})}, ["env", "finite"]),
        ({"header": Header(env="smax")}, ["env", "a dictionary"]),
        ({"source": [1, 2]}, ["source", "text"]),
        ({"source": ["expert", None]}, ["source", "None at [1]"]),
        ({"source": ["expert"]}, ["source", "1 rows", "2"]),
        ({"won": True}, ["won", "one entry an episode"]),
        ({"won": ["yes", "no"]}, ["won", "numbers"]),
        ({"obs": np.ma.masked_less(ARRAYS["obs"], 3)}, ["obs", "a masked value at [0, 0, 0]"]),
        ({"obs": torch.zeros(5, 2, 3, requires_grad=True)}, ["obs", "numpy cannot read"]),
        ({"obs": np.array([["a"]])}, ["obs", "2 dimensions"]),
        ({"length": 3}, ["episode/length", "shape []"]),
        ({"length": [1, 2, 10**14]}, ["episode/length", "steps in all"]),
        ({"n_actions": 3}, ["n_actions", "continuous"]),
        ({"actions": np.zeros((3, 2), int), "n_actions": 0}, ["n_actions", "at least 1"]),
        (
            {"actions": np.zeros((3, 2), int), "n_actions": 3, "available_actions": np.ones((5, 2, 2))},
            ["n_actions", "2, the entries of available_actions"],
        ),
    ],
)
def test_arrays_that_can_be_read_in_two_ways_are_refused(change, words):
    with pytest.raises(MisodiceError) as error:
        Episodes.from_arrays(**ARRAYS | change)
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words), str(error.value)


# --- the commands --------------------------------------------------------------------------------------------------


def test_all_pairs_are_taken_of_a_small_file(tmp_path, capsys):
    path = own_file(tmp_path / "own.h5")
    fit(tmp_path / "run", path, "--env", "null", "--data.k", "2", "--labels.n_pairs", "60", config="mamujoco_hopper")
    printed = capsys.readouterr().out
    assert printed.count("4 episodes have 6 pairs, and labels.n_pairs is 60: all pairs are taken") == 1
    lines = [json.loads(line) for line in (tmp_path / "run" / "preferences.jsonl").read_text().splitlines()]
    assert len({frozenset(line["episodes"]) for line in lines if line["kind"] == "preference"}) == 6


@pytest.mark.parametrize(
    ("count", "options", "words"),
    [
        (1, [], "1 episode has no other to be compared with"),
        (2, ["--data.k", "3"], "data.k is 3, expected 1 to 2"),
        (2, ["--labels.n_pairs", "0"], "labels.n_pairs: found 0, expected a whole number"),
        (2, ["--labels.seed", "-1"], "labels.seed: found -1, expected a whole number, at least 0"),
    ],
)
def test_too_small_a_file_is_told_before_training(tmp_path, capsys, count, options, words):
    whole = Episodes.read(own_file(tmp_path / "own.h5"))
    with EpisodesWriter(tmp_path / "few.h5", whole.header) as writer:
        for index in range(count):
            writer.add(whole[index])
    more = ["--env", "null", "--data.k", "1", *options]
    fit(tmp_path / "run", tmp_path / "few.h5", *more, config="mamujoco_hopper", status=2)
    message = capsys.readouterr().err
    assert words in message
    assert "Traceback" not in message
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(("count", "ranking"), [(1, "return"), (2, "preference")])
def test_one_or_two_episodes_are_enough(tmp_path, count, ranking):
    whole = Episodes.read(own_file(tmp_path / "own.h5"))
    with EpisodesWriter(tmp_path / "few.h5", whole.header) as writer:
        for index in range(count):
            writer.add(whole[index])
    more = ["--env", "null", "--data.k", "1", "--data.ranking", ranking]
    fit(tmp_path / "run", tmp_path / "few.h5", *more, config="mamujoco_hopper")
