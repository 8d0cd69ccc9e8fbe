"""The adapter against the real smacv2 package and a game, or a stand-in for the game's process, under SC2PATH.

python -m pytest -m smacv2 tests/envs/test_starcraft2_real.py
"""

import importlib.util
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from misodice.cli.main import main
from misodice.data.episodes import Episodes
from misodice.envs import SMAC, SMAX, StarCraft2
from misodice.envs.starcraft2.env import Starcraft2Env
from misodice.envs.starcraft2.features import smacv2_features
from misodice.envs.starcraft2.tasks import check_map, find_game
from misodice.errors import MisodiceError
from misodice.rollout.actors import RandomActor, make_actor
from misodice.rollout.loop import rollout


def lacking() -> str:
    """Why these tests cannot run here; empty where they can."""
    if importlib.util.find_spec("smacv2") is None:
        return "the smacv2 package is not installed (docs/install.md)"
    try:
        find_game()
        check_map("32x32_flat")
        check_map("5m_vs_6m")
    except MisodiceError as error:
        return str(error)
    return ""


pytestmark = [pytest.mark.smacv2, pytest.mark.skipif(bool(lacking()), reason=lacking())]

UNITS = ("marine", "marauder", "medivac", "zergling", "hydralisk", "baneling")

# Agents, state, observation, actions: the paper's Table 2.
TABLE_2 = {
    "protoss_5_vs_5": (5, 130, 92, 11),
    "protoss_10_vs_10": (10, 310, 182, 16),
    "protoss_10_vs_11": (10, 327, 191, 17),
    "protoss_20_vs_20": (20, 820, 362, 26),
    "protoss_20_vs_23": (20, 901, 389, 29),
    "terran_5_vs_5": (5, 120, 82, 11),
    "terran_10_vs_10": (10, 290, 162, 16),
    "terran_10_vs_11": (10, 306, 170, 17),
    "terran_20_vs_20": (20, 780, 322, 26),
    "terran_20_vs_23": (20, 858, 346, 29),
    "zerg_5_vs_5": (5, 120, 82, 11),
    "zerg_10_vs_10": (10, 290, 162, 16),
    "zerg_10_vs_11": (10, 306, 170, 17),
    "zerg_20_vs_20": (20, 780, 322, 26),
    "zerg_20_vs_23": (20, 858, 346, 29),
}


@pytest.fixture
def env() -> Iterator[Starcraft2Env]:
    made = Starcraft2Env("terran_5_vs_5", 2, start_timeout=60.0)
    yield made
    made.close()


def game_of(env: Starcraft2Env, index: int) -> int:
    """Process id of the game that a worker started."""
    worker = str(env._games[index].process.pid)
    return int(subprocess.run(["ps", "-o", "pid=", "--ppid", worker], capture_output=True, check=True).stdout)


@pytest.mark.parametrize("task", TABLE_2)
def test_tasks_have_the_dimensions_of_the_paper(task: str) -> None:
    env = StarCraft2(task).make(1)
    assert (env.n_agents, env.state_dim, env.obs_dim, env.n_actions) == TABLE_2[task]
    assert len(set(env.header.state_features)) == env.state_dim == len(env.header.state_features)
    assert len(set(env.header.obs_features)) == env.obs_dim == len(env.header.obs_features)
    # `misodice convert` names the features without the package.
    assert smacv2_features(task) == (env.header.obs_features, env.header.state_features)
    env.close()


def test_smacv1_maps() -> None:
    env = StarCraft2("5m_vs_6m").make(1)
    assert (env.n_agents, env.state_dim, env.obs_dim, env.n_actions) == (5, 98, 55, 12)
    (episode,) = rollout(env, make_actor(StarCraft2(), env, "heuristic"), 1, seed=0)
    assert len(episode) > 1
    env.close()


def test_unknown_task() -> None:
    with pytest.raises(MisodiceError, match=r"unknown StarCraft II task 'zreg_5_vs_5'; known: .*5m_vs_6m"):
        StarCraft2("zreg_5_vs_5").make(1)


def test_smac_is_the_game_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert isinstance(SMAC().resolve(), StarCraft2)
    monkeypatch.setenv("SC2PATH", str(tmp_path / "absent"))
    assert isinstance(SMAC().resolve(), SMAX)


def assert_same_start(env: Starcraft2Env, a: np.ndarray, b: np.ndarray) -> None:
    """Same types of units at the same places, but for what they moved in the first loop of the game."""
    chosen = [f.partition(".")[2] in (*UNITS, "rel_x", "rel_y") for f in env.header.state_features]
    assert any(chosen)
    np.testing.assert_allclose(a[..., chosen], b[..., chosen], atol=0.01)


def test_the_seed_reaches_teams_and_places(env: Starcraft2Env) -> None:
    seen = [env.reset(seed=seed)[0]["state"] for seed in (3, 4, 3, 3)]
    assert_same_start(env, seen[0], seen[2])
    assert_same_start(env, seen[0], seen[3])
    for a, b in ((seen[0], seen[1]), (seen[0][0], seen[0][1])):
        with pytest.raises(AssertionError):
            assert_same_start(env, a, b)


def test_a_fresh_start_repeats_whole_episodes(env: Starcraft2Env) -> None:
    first = [episode.obs for episode in rollout(env, RandomActor(env), 2, seed=11)]
    other = Starcraft2Env("terran_5_vs_5", 2)
    second = [episode.obs for episode in rollout(other, RandomActor(other), 2, seed=11)]
    other.close()
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_features_mean_what_they_are_called(env: Starcraft2Env) -> None:
    state = env.reset(seed=0)[0]["state"][0]
    named = dict(zip(env.header.state_features, state, strict=True))
    for unit in [f"ally_{i}" for i in range(5)] + [f"enemy_{i}" for i in range(5)]:
        assert 0 < named[f"{unit}.health"] <= 1
        assert sum(named[f"{unit}.{kind}"] for kind in ("marine", "marauder", "medivac")) == 1
        assert -0.5 <= named[f"{unit}.rel_x"] <= 0.5
    stop = np.ones((2, 5), int)
    following = dict(zip(env.header.state_features, env.step(stop)[0]["state"][0], strict=True))
    assert all(following[f"ally_{i}.last_action_stop"] == 1 for i in range(5))


def test_heuristic_beats_random_and_chooses_what_is_available(env: Starcraft2Env) -> None:
    def returns(behaviour: str) -> list[float]:
        episodes = list(rollout(env, make_actor(StarCraft2(), env, behaviour), 4, seed=2))
        for episode in episodes:
            assert episode.available_actions is not None
            available = np.take_along_axis(episode.available_actions[:-1], episode.actions[..., None], -1)
            assert available.all()
        return [float(episode.rewards.sum()) for episode in episodes if episode.rewards is not None]

    assert np.mean(returns("heuristic")) > np.mean(returns("random"))


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_a_game_ended_in_mid_episode_is_repeated(signal_: signal.Signals) -> None:
    env = Starcraft2Env("zerg_5_vs_5", 2, timeout=5.0)

    class Murderer(RandomActor):
        """Ends the second game's process once, at its fourth step."""

        steps = 0

        def act(self, observation: dict[str, np.ndarray]) -> np.ndarray:
            self.steps += 1
            if self.steps == 4:
                os.kill(game_of(env, 1), signal_)
            return super().act(observation)

    episodes = list(rollout(env, Murderer(env), 4, seed=0))
    assert len(episodes) == 4
    assert env.restarts == 1
    assert all((episode.terminated | episode.truncated)[-1] for episode in episodes)
    # The repeated episode begins as it would have: same team, same places.
    undisturbed = list(rollout(env, RandomActor(env), 4, seed=0))
    for a, b in zip(episodes, undisturbed, strict=True):
        assert_same_start(env, a.state[0], b.state[0])
    env.close()


def test_a_port_that_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    game = tmp_path / "StarCraftII"
    (game / "Versions" / "Base75689").mkdir(parents=True)
    (game / "Maps" / "SMAC_Maps").mkdir(parents=True)
    (game / "Maps" / "SMAC_Maps" / "32x32_flat.SC2Map").touch()
    binary = game / "Versions" / "Base75689" / "SC2_x64"
    binary.write_text("#!/bin/sh\nexec sleep 600\n")
    binary.chmod(0o755)
    monkeypatch.setenv("SC2PATH", str(game))
    env = Starcraft2Env("zerg_5_vs_5", 1, start_timeout=2.0, timeout=1.0, max_failures=2)
    with pytest.raises(MisodiceError, match=r"game 0 of zerg_5_vs_5 failed 2 times .* no answer"):
        env.reset(seed=0)
    env.close()


@pytest.mark.parametrize("task", ["zerg_5_vs_5", "terran_10_vs_10", "protoss_10_vs_11"])
def test_collect_and_fit(task: str, tmp_path: Path) -> None:
    data, run = tmp_path / "game.h5", tmp_path / "run"
    sources = "[{behaviour: heuristic, episodes: 6, source: expert}, {behaviour: random, episodes: 10, source: random}]"
    arguments = ["--env", "StarCraft2", "--env.task", task, "--env.games", "2"]
    assert main(["collect", "--output", str(data), "--sources", sources, *arguments]) == 0
    episodes = Episodes.read(data)
    assert episodes.n_episodes == 16
    assert episodes.header.env["engine"] == "starcraft2"
    fit = ["--data.path", str(data), "--data.k", "6", "--data.batch_size", "64", "--trainer.max_epochs", "2"]
    fit += ["--rollout.episodes", "4", "--rollout.every_n_epochs", "1", "--run_dir", str(run)]
    fit += ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--data.ranking", "oracle"]
    assert main(["fit", *arguments, *fit]) == 0
    assert (run / "summary.json").is_file()
    more = tmp_path / "more.h5"
    checkpoint = f"[{{behaviour: {run}/policy/last.ckpt, episodes: 2, source: trained}}]"
    assert main(["collect", "--output", str(more), "--sources", checkpoint, *arguments]) == 0
    assert Episodes.read(more).n_episodes == 2
