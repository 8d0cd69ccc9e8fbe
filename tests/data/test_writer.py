"""`EpisodesWriter.add` checks what the reader checks, at the episode that is wrong."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from misodice.data.episodes import Episode, Episodes, EpisodesWriter, Header
from misodice.errors import MisodiceError
from tests.helpers.own_file import own_file


@pytest.fixture(scope="module")
def continuous(tmp_path_factory):
    return Episodes.read(own_file(tmp_path_factory.mktemp("own") / "own.h5"))


@pytest.fixture(scope="module")
def discrete(tmp_path_factory):
    return Episodes.read(own_file(tmp_path_factory.mktemp("own") / "own.h5", discrete=True))


def first_is(values, value):
    values = np.array(values)
    values.reshape(-1)[0] = value
    return values


WRONG = [
    (lambda e: {"obs": first_is(e.obs, np.nan)}, ["obs", "NaN"]),
    (lambda e: {"obs": e.obs[:-1]}, ["obs", "4 rows", "5"]),
    (lambda e: {"obs": e.obs[..., :-1], "state": e.state}, ["obs_features", "3 names", "2"]),
    (lambda e: {"state": e.state[:, :-1]}, ["state_features", "5 names", "4"]),
    (lambda e: {"state": None}, ["state", "nothing", "an array"]),
    (lambda e: {"obs": [[1], [1, 2]]}, ["obs", "numpy cannot read"]),
    (lambda e: {"rewards": np.repeat(e.rewards[:, None], 2, 1)}, ["rewards", "[4, 2]", "mean"]),
    (lambda e: {"rewards": None}, ["rewards", "none", "values, as in the first episode"]),
    (lambda e: {"won": None}, ["episode/won", "none", "as in the first episode"]),
    (lambda e: {"source": None}, ["episode/source", "none", "as in the first episode"]),
    (lambda e: {"source": 3}, ["source", "3", "one name"]),
    (lambda e: {"won": "yes"}, ["won", "'yes'", "true or false"]),
    (lambda e: {"won": [True, False]}, ["won", "true or false"]),
    (lambda e: {"terminated": ~e.terminated}, ["terminated", "step 0", "last step"]),
    (lambda e: {"truncated": e.truncated[:-1]}, ["truncated", "3 rows", "4"]),
    (lambda e: {"true_return": np.nan}, ["episode/return", "nan"]),
    (lambda e: {name: getattr(e, name)[:0] for name in ("actions", "rewards")}, ["actions", "at least 1 step"]),
]
CONTINUOUS = [
    (lambda e: {"actions": e.actions * 9}, ["actions", "±1"]),
    (lambda e: {"actions": e.actions[..., :1]}, ["actions", "[2, 1] for each step", "[2, 2] as in the first"]),
    (lambda e: {"actions": e.actions[..., 0]}, ["actions", "floats of shape [4, 2]"]),
    (lambda e: {"available_actions": np.ones((5, 2, 2))}, ["actions", "beside available_actions"]),
]
DISCRETE = [
    (lambda e: {"actions": e.actions + 2}, ["actions", "0…1"]),
    (lambda e: {"actions": e.actions + 0.5}, ["actions", "whole numbers"]),
    (lambda e: {"available_actions": None}, ["available_actions", "missing"]),
    (lambda e: {"available_actions": ~e.available_actions}, ["actions", "forbids"]),
    (lambda e: {"available_actions": np.ones((5, 2, 3))}, ["available_actions", "[2, 3]", "[2, 2] as in the first"]),
]


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        *(("continuous", *case) for case in [*WRONG, *CONTINUOUS]),
        *(("discrete", *case) for case in [*WRONG, *DISCRETE]),
    ],
)
def test_the_episode_that_is_wrong_is_named_and_nothing_is_left(request, tmp_path, kind, change, words):
    episodes = request.getfixturevalue(kind)

    def write() -> None:
        with EpisodesWriter(tmp_path / "x.h5", episodes.header) as writer:
            writer.add(episodes[0])
            writer.add(replace(episodes[2], **change(episodes[2])))

    with pytest.raises(MisodiceError) as caught:
        write()
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in [f"{tmp_path / 'x.h5'}: episode 1: ", *words]), message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [None, {"obs": 1}, "episode"])
def test_something_that_is_no_episode(continuous, tmp_path, wrong):
    with (
        pytest.raises(MisodiceError, match=r"episode 0: found .*, expected an Episode"),
        EpisodesWriter(tmp_path / "x.h5", continuous.header) as writer,
    ):
        writer.add(wrong)
    assert not list(tmp_path.iterdir())


def test_after_an_episode_that_is_refused_the_next_may_be_added(continuous, tmp_path):
    with EpisodesWriter(tmp_path / "x.h5", continuous.header) as writer:
        writer.add(continuous[0])
        with pytest.raises(MisodiceError):
            writer.add(replace(continuous[1], rewards=None))
        writer.add(continuous[2])
    read = Episodes.read(tmp_path / "x.h5")
    assert read.length.tolist() == [3, 4]
    assert read.returns.tolist() == continuous.returns[[0, 2]].tolist()


def test_lists_and_tensors_are_taken(continuous, tmp_path):
    one = continuous[0]
    given = replace(one, obs=torch.as_tensor(one.obs), rewards=one.rewards[:, None].tolist(), won=np.int64(1))
    with EpisodesWriter(tmp_path / "x.h5", continuous.header) as writer:
        writer.add(given)
    read = Episodes.read(tmp_path / "x.h5")[0]
    for name in ("obs", "rewards", "won"):
        np.testing.assert_array_equal(getattr(read, name), getattr(one, name))


def test_no_episode_is_no_file(continuous, tmp_path):
    def write() -> None:
        with EpisodesWriter(tmp_path / "x.h5", continuous.header):
            pass

    with pytest.raises(MisodiceError, match="no episode was added"):
        write()
    assert not list(tmp_path.iterdir())
    with pytest.raises(MisodiceError, match="inside the with block"):
        EpisodesWriter(tmp_path / "x.h5", continuous.header).add(continuous[0])


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (Header(env={"task": object()}), "env: .*of type object"),
        (Header(env={"engine": ["smax"]}), r"env\['engine'\]"),
        (Header(action_scale=-1), "action_scale"),
        ({"env": {}}, "expected a Header"),
    ],
)
def test_a_header_that_cannot_be_written_is_told_at_once(tmp_path, header, words):
    with pytest.raises(MisodiceError, match=words):
        EpisodesWriter(tmp_path / "x.h5", header)


def test_a_file_is_not_replaced_without_a_word(continuous, tmp_path):
    path = tmp_path / "x.h5"
    continuous.write(path)
    before = path.read_bytes()
    with pytest.raises(MisodiceError, match=r"x\.h5: exists already.*overwrite=True"):
        continuous.write(path)
    with pytest.raises(MisodiceError, match="exists already"), EpisodesWriter(path, continuous.header):
        pass
    assert path.read_bytes() == before
    with EpisodesWriter(path, continuous.header, overwrite=True) as writer:
        writer.add(continuous[0])
    assert Episodes.read(path).n_episodes == 1
    with pytest.raises(MisodiceError, match="is a folder"):
        continuous.write(tmp_path)


def test_an_episode_whose_rewards_are_replaced_has_their_sum(continuous, tmp_path):
    episode: Episode = replace(continuous[0], rewards=np.ones(3))
    with EpisodesWriter(tmp_path / "x.h5", continuous.header) as writer:
        writer.add(episode)
    assert Episodes.read(tmp_path / "x.h5").returns.tolist() == [3.0]
