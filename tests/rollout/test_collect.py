"""`collect` on an engine of a user's own, by objects and by class paths."""

import json

import numpy as np
import pytest

from misodice.cli.main import main
from misodice.data.episodes import Episodes, Header
from misodice.envs import SMAC, Source
from misodice.errors import MisodiceError
from misodice.rollout.actors import RandomActor, make_actor
from misodice.rollout.collect import collect
from misodice.rollout.loop import rollout
from tests.helpers.tiny_engine import Follower, Tiny, TinyEnv

FOLLOWER = "tests.helpers.tiny_engine.Follower"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "tiny.h5"
    collect(Tiny(), Tiny().default_sources(), path, seed=0)
    return path


def test_an_engine_of_a_users_own_is_collected_on(file):
    episodes = Episodes.read(file)
    assert episodes.header.env == {"engine": "tiny", "task": "follow", "steps": 6, "version": "1"}
    assert episodes.header.obs_features[3:] == ["time", "own_index"]
    expert = episodes.source == "expert"
    assert (expert.sum(), (~expert).sum()) == (20, 40)
    assert episodes.won[expert].all()
    assert set(episodes.returns[expert]) == {6.0}
    assert (episodes.length[expert] == 6).all()
    assert not episodes.won[~expert].all()
    assert not expert[:20].all()  # shuffled
    for episode in episodes:
        assert episode.won == (len(episode) == 6 and not episode.terminated[-1])


def test_one_seed_makes_one_file(file, tmp_path):
    for seed in (0, 1):
        collect(Tiny(), Tiny().default_sources(), tmp_path / f"{seed}.h5", seed)
    first, again, other = (Episodes.read(path) for path in (file, tmp_path / "0.h5", tmp_path / "1.h5"))
    np.testing.assert_array_equal(first.obs, again.obs)
    np.testing.assert_array_equal(first.actions, again.actions)
    assert first.obs.shape != other.obs.shape or (first.obs != other.obs).any()


def test_an_actor_of_a_users_own_plays(tmp_path):
    sources = [Source(FOLLOWER, 3, "path"), Source(lambda env: Follower(env, slip=0.9), 30, "object")]
    collect(Tiny(), sources, tmp_path / "a.h5", seed=0, shuffle=False)
    episodes = Episodes.read(tmp_path / "a.h5")
    assert episodes.source.tolist() == ["path"] * 3 + ["object"] * 30
    assert episodes.won[:3].all()
    assert not episodes.won[3:].all()


def test_both_are_named_by_class_paths_on_the_command_line(tmp_path):
    behaviours = [FOLLOWER, {"class_path": FOLLOWER, "init_args": {"slip": 0.9}}]
    sources = [{"behaviour": each, "episodes": 10, "source": str(i)} for i, each in enumerate(behaviours)]
    engine = ["--env", "tests.helpers.tiny_engine.Tiny", "--env.steps", "4"]
    assert main(["collect", "--output", str(tmp_path / "a.h5"), *engine, "--sources", json.dumps(sources)]) == 0
    episodes = Episodes.read(tmp_path / "a.h5")
    assert episodes.header.env["steps"] == 4
    assert episodes.won[episodes.source == "0"].all()
    assert not episodes.won[episodes.source == "1"].all()


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("nobody", "not found; bundled: heuristic, random"),
        ("nobody.npz", "not found"),
        ("tests.helpers.tiny_engine.Nobody", "cannot be imported"),
        ("tests.helpers.tiny_engine.Tiny", r"expected a subclass of misodice\.envs\.base\.Actor"),
        ("nobody.ckpt", "does not exist"),
    ],
)
def test_a_behaviour_that_is_none_is_said(behaviour, words):
    with pytest.raises(MisodiceError, match=words):
        make_actor(Tiny(), Tiny().make(1), behaviour)


def test_a_behaviour_of_another_task_is_said():
    with pytest.raises(MisodiceError, match="inputs, the task has 7"):
        make_actor(Tiny(), Tiny().make(1), str(SMAC().behaviours()["zerg_5_vs_5_expert"]))


class Renamed(Tiny):
    """Forgets to have its own name in the header too."""

    name = "renamed"


class Shifty(TinyEnv):
    """Observes less than it says."""

    def _observe(self):
        return {name: values[..., :-1] for name, values in super()._observe().items()}


class Silent(TinyEnv):
    """Does not tell who won."""

    def step(self, actions):
        return (*super().step(actions)[:-1], {})


def test_an_engine_whose_header_has_another_name_is_said(tmp_path):
    with pytest.raises(MisodiceError, match=r"Renamed: its `name` is 'renamed', but .* is 'tiny'"):
        collect(Renamed(), [Source("random", 1, "random")], tmp_path / "a.h5", seed=0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("env", "words"), [(Shifty, r"Shifty\.reset: observation has shapes .*set_spaces"), (Silent, r"Silent\.step.*won")]
)
def test_an_environment_that_does_not_keep_its_word_is_said(env, words):
    made = env("follow", 6, 2)
    with pytest.raises(MisodiceError, match=words):
        list(rollout(made, RandomActor(made), 2, seed=0))


def test_the_agents_of_an_environment_stand_in_order_of_the_actuators():
    env = TinyEnv("follow", 6, 1)
    actions = np.arange(12.0).reshape(2, 6)
    assert env.from_actuators(actions).tolist() == actions.reshape(2, 2, 3).tolist()
    assert isinstance(env.header, Header)
    with pytest.raises(MisodiceError, match="engine tiny has no observation of the whole body"):
        _ = env.single_obs


@pytest.mark.parametrize(
    ("sources", "options", "words"),
    [
        ([], {}, "sources: found none"),
        ([Source("random", 1, "a")], {"seed": -1}, "seed is -1"),
        ([Source("random", 1, "a")], {"seed": 0.5}, r"seed is 0\.5"),
        ([Source("random", 1, "a"), Source("nobody", 1, "b")], {}, "behaviour 'nobody': not found"),
    ],
)
def test_sources_that_are_none_are_told_before_anybody_plays(tmp_path, monkeypatch, sources, options, words):
    monkeypatch.setattr(TinyEnv, "reset", lambda *_, **__: pytest.fail("somebody plays"))
    with pytest.raises(MisodiceError, match=words):
        collect(Tiny(), sources, tmp_path / "a.h5", **{"seed": 0} | options)
    assert not list(tmp_path.iterdir())


def test_a_file_is_not_replaced_without_a_word(tmp_path, capsys):
    path, engine = tmp_path / "a.h5", ["--env", "tests.helpers.tiny_engine.Tiny"]
    command = ["collect", "--output", str(path), *engine, "--sources"]
    one, two = (f'[{{"behaviour": "random", "episodes": {count}, "source": "r"}}]' for count in (1, 2))
    assert main([*command, one]) == 0
    assert main([*command, two]) == 2
    assert f"{path}: exists already, and is not replaced without your word" in capsys.readouterr().err
    assert Episodes.read(path).n_episodes == 1
    assert main([*command, two, "--overwrite", "true"]) == 0
    assert Episodes.read(path).n_episodes == 2
    assert main([*command, "[]", "--overwrite", "true"]) == 2
    assert "sources: found none" in capsys.readouterr().err
    assert main(["collect", "--output", str(tmp_path), *engine]) == 2
    assert "is a folder" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["a.h5"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"episodes": 0}, "sources.episodes: found 0, expected a whole number, at least 1"),
        ({"episodes": -3}, "sources.episodes: found -3"),
        ({"episodes": 1.5}, "sources.episodes: found 1.5"),
        ({"episodes": True}, "sources.episodes: found True"),
        ({"noise": -0.1}, "sources.noise: found -0.1"),
        ({"noise": float("nan")}, "sources.noise: found nan"),
        ({"source": ""}, "sources.source: found ''"),
    ],
)
def test_a_source_that_cannot_be_is_refused_when_it_is_made(given, words):
    with pytest.raises(MisodiceError) as error:
        Source(**{"behaviour": "random", "episodes": 1, "source": "a"} | given)
    assert words in str(error.value)
