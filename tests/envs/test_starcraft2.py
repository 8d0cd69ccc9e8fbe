"""The adapter's own logic, against worker processes without a game (fake_game.py)."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from misodice.cli.main import main
from misodice.envs import SMAC, SMAX, StarCraft2
from misodice.envs.starcraft2.env import Starcraft2Env
from misodice.envs.starcraft2.tasks import obs_feature, state_feature, task_options, unit_types
from misodice.errors import MisodiceError
from misodice.rollout.actors import RandomActor, make_actor
from misodice.rollout.loop import rollout
from tests.helpers.processes import gone

FAKE = Path(__file__).parents[1] / "helpers" / "fake_game.py"
MakeEnv = Callable[..., Starcraft2Env]


@pytest.fixture
def game_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "StarCraftII"
    (folder / "Versions" / "Base75689").mkdir(parents=True)
    (folder / "Versions" / "Base75689" / "SC2_x64").touch()
    (folder / "Maps" / "SMAC_Maps").mkdir(parents=True)
    (folder / "Maps" / "SMAC_Maps" / "32x32_flat.SC2Map").touch()
    monkeypatch.setenv("SC2PATH", str(folder))
    return folder


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something that is found as smacv2, so that the default suite does not need the real one."""
    (tmp_path / "site" / "smacv2").mkdir(parents=True)
    (tmp_path / "site" / "smacv2" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))


@pytest.fixture
def make(tmp_path: Path, game_folder: Path) -> Any:
    made: list[Starcraft2Env] = []

    def fake_env(num_envs: int = 3, fault: str = "none", **options: Any) -> Starcraft2Env:
        ledger = tmp_path / f"ledger{len(made)}"
        command = [sys.executable, str(FAKE), str(ledger), fault]
        options = {"start_timeout": 20.0, "timeout": 20.0, **options}
        made.append(Starcraft2Env("zerg_5_vs_5", num_envs, command=command, **options))
        return made[-1]

    yield fake_env
    for env in made:
        env.close()


def resets(tmp_path: Path) -> list[str]:
    return [line for line in (tmp_path / "ledger0").read_text().splitlines() if line.startswith("reset")]


def play(env: Starcraft2Env, episodes: int) -> list[np.ndarray]:
    return [episode.state for episode in rollout(env, RandomActor(env), episodes, seed=5)]


def wait_until(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + 20
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


# --- tasks and names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("package_name", "name"),
    [
        ("ally_health_0", "ally_0.health"),
        ("ally_cooldown_11", "ally_11.weapon_cooldown"),
        ("ally_relative_x_3", "ally_3.rel_x"),
        ("ally_shield_3", "ally_3.shield"),
        ("ally_unit_type_2_bit_1", "ally_2.hydralisk"),
        ("enemy_unit_type_22_bit_2", "enemy_22.baneling"),
        ("ally_last_action_4_action_3", "ally_4.last_action_south"),
        ("ally_last_action_4_action_7", "ally_4.last_action_target_1"),
    ],
)
def test_state_features_say_unit_and_what(package_name: str, name: str) -> None:
    assert state_feature(package_name, unit_types("zerg_10_vs_11")) == name


@pytest.mark.parametrize(
    ("package_name", "name"),
    [
        ("move_action_east", "own.can_move_east"),
        ("enemy_shootable_0", "enemy_0.shootable"),
        ("enemy_distance_10", "enemy_10.distance"),
        ("ally_visible_1", "other_ally_0.visible"),
        ("ally_unit_type_10_bit_0", "other_ally_9.unit_type_0"),
        ("own_pos_x", "own.position_x"),
        ("own_unit_type_bit_1", "own.unit_type_1"),
    ],
)
def test_obs_features_say_unit_and_what(package_name: str, name: str) -> None:
    assert obs_feature(package_name, unit_types("3s5z")) == name


def test_options_of_smacv2_tasks_and_smacv1_maps() -> None:
    options = task_options("terran_10_vs_11")
    assert options["map_name"] == "10gen_terran"
    assert (options["capability_config"]["n_units"], options["capability_config"]["n_enemies"]) == (10, 11)
    weights = options["capability_config"]["team_gen"]
    assert dict(zip(weights["unit_types"], weights["weights"], strict=True))["medivac"] == 0.1
    assert task_options("5m_vs_6m") == {"map_name": "5m_vs_6m"}
    assert unit_types("5m_vs_6m") == []


# --- what is missing -----------------------------------------------------------------------------------------------


def test_smac_needs_package_and_game(package: None, game_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(SMAC().resolve(), StarCraft2)
    monkeypatch.setenv("SC2PATH", str(game_folder / "absent"))
    assert isinstance(SMAC().resolve(), SMAX)


def test_smac_without_the_package(game_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert isinstance(SMAC().resolve(), SMAX)
    with pytest.raises(MisodiceError, match=r"git\+https://github.com/oxwhirl/smacv2.*docs/install.md"):
        StarCraft2().make(1)


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        ("", "no folder .*set SC2PATH"),
        ("Versions/Base75689", "has no Versions/Base"),
        ("Versions/Base75689/SC2_x64", "has no SC2_x64"),
    ],
)
def test_a_lacking_game_is_named(package: None, game_folder: Path, lacking: str, message: str) -> None:
    (game_folder / lacking).rename(game_folder.with_name("elsewhere"))
    with pytest.raises(MisodiceError, match=message):
        StarCraft2().make(1)


def test_a_lacking_map_is_named_and_nothing_left_running(make: MakeEnv, game_folder: Path, tmp_path: Path) -> None:
    (game_folder / "Maps" / "SMAC_Maps" / "32x32_flat.SC2Map").unlink()
    with pytest.raises(MisodiceError, match=r"32x32_flat\.SC2Map is missing"):
        make(2)
    pids = [int(line.split()[1]) for line in (tmp_path / "ledger0").read_text().splitlines()]
    assert pids
    assert all(gone(pid) for pid in pids)


def test_a_worker_that_cannot_describe_its_task(make: MakeEnv) -> None:
    with pytest.raises(MisodiceError, match=r"ProtocolError: game has ended.*docs/install\.md"):
        make(1, "spec:fail:9")


def test_the_command_line_says_what_is_missing(
    package: None,
    game_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SC2PATH", str(tmp_path / "nowhere"))
    output = tmp_path / "out.h5"
    assert main(["collect", "--output", str(output), "--env", "StarCraft2"]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert not output.exists()


def test_games_is_at_least_one(package: None, game_folder: Path) -> None:
    with pytest.raises(MisodiceError, match=r"env\.games: found 0"):
        StarCraft2(games=0).make(1)


# --- the interface -------------------------------------------------------------------------------------------------


def test_spaces_header_and_masks(make: MakeEnv) -> None:
    env = make(2)
    observation, _ = env.reset(seed=1)
    assert {name: values.shape for name, values in observation.items()} == {
        "obs": (2, 2, 4),
        "state": (2, 5),
        "available_actions": (2, 2, 8),
    }
    assert observation["available_actions"].dtype == bool
    assert env.header.env["engine"] == "starcraft2"
    assert env.header.env["options"] == task_options("zerg_5_vs_5")
    assert env.header.state_features[3] == "ally_1.baneling"
    assert len(env.header.obs_features) == env.obs_dim
    forbidden = np.argmin(observation["available_actions"], axis=-1)
    with pytest.raises(ValueError, match="not available"):
        env.step(forbidden)


def test_ended_environments_stand_still(make: MakeEnv) -> None:
    env = make(2)
    env.reset(seed=1)
    actions = np.ones((2, 2), int)
    for step in range(1, 5):
        observation, reward, terminated, truncated, info = env.step(actions)
        assert reward.tolist() == [step, step]
    assert (terminated | truncated).all()
    assert not info["lost"].any()
    following, reward, terminated, truncated, _ = env.step(np.zeros((2, 2), int))
    np.testing.assert_array_equal(following["state"], observation["state"])
    assert not reward.any()
    assert not (terminated | truncated).any()


def test_games_start_in_the_background(make: MakeEnv, tmp_path: Path) -> None:
    env = make(2, "launch:gate:9")
    assert resets(tmp_path) == []  # constructed, and the games are still at launch
    (tmp_path / "ledger0.gate").touch()
    env.reset(seed=0)
    assert len(resets(tmp_path)) == 2


def test_seeds_are_repeatable_and_differ_between_games(make: MakeEnv, tmp_path: Path) -> None:
    first, second = make(3), make(3)
    a, b = first.reset(seed=7)[0], second.reset(seed=7)[0]
    np.testing.assert_array_equal(a["obs"], b["obs"])
    assert len(np.unique(a["state"][:, 0])) == 3
    assert (first.reset(seed=8)[0]["state"][:, 0] != a["state"][:, 0]).all()


def test_heuristic_goes_through_the_games(make: MakeEnv) -> None:
    env = make(2)
    episodes = list(rollout(env, make_actor(StarCraft2(), env, "heuristic"), 2, seed=0))
    assert all((episode.actions == 1).all() for episode in episodes)


def test_a_picture_is_the_games_own_matter(make: MakeEnv) -> None:
    with pytest.raises(MisodiceError, match=r"starcraft2 is not drawn.*replays"):
        make(1).render()


def test_default_data_are_the_heuristic_and_random() -> None:
    sources = StarCraft2().default_sources()
    assert [(source.behaviour, source.episodes) for source in sources] == [("heuristic", 200), ("random", 1000)]


# --- faults --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["step3:exit:1", "step3:fail:2", "step1:exit:3", "reset:exit:1", "launch:fail:2"])
def test_a_lost_game_is_started_again_and_its_episode_repeated(
    make: MakeEnv, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = play(make(3), 7)
    with caplog.at_level(logging.WARNING):
        env = make(3, fault)
        again = play(env, 7)
    assert len(again) == 7
    for expected, found in zip(whole, again, strict=True):
        np.testing.assert_array_equal(expected, found)
    assert env.restarts >= 1
    assert len(caplog.records) == env.restarts
    assert "its episode is repeated" in caplog.text


def test_a_hanging_game_is_started_again(make: MakeEnv) -> None:
    env = make(1, "step2:hang:1", timeout=1.0)
    assert [len(states) for states in play(env, 2)] == [5, 5]
    assert env.restarts == 1


def test_a_game_lost_in_the_heuristic_is_reported_by_step(make: MakeEnv) -> None:
    env = make(1, "heuristic:exit:1")
    env.reset(seed=0)
    actions = env.heuristic_actions()
    _, reward, terminated, truncated, info = env.step(actions)
    assert info["lost"].tolist() == truncated.tolist() == [True]
    assert not terminated.any()
    assert not reward.any()
    assert len(list(rollout(env, make_actor(StarCraft2(), env, "heuristic"), 1, seed=0))) == 1


@pytest.mark.parametrize("fault", ["step3:exit:99", "reset:fail:99", "launch:exit:99"])
def test_a_game_that_keeps_failing_ends_in_one_error(make: MakeEnv, fault: str) -> None:
    env = make(1, fault, max_failures=3)
    with pytest.raises(MisodiceError, match="game 0 of zerg_5_vs_5 failed 3 times"):
        play(env, 1)
    assert env.restarts == 2


def test_the_last_words_of_a_dead_worker_are_in_the_error(make: MakeEnv) -> None:
    env = make(1, "step3:exit:99", max_failures=1)
    with pytest.raises(MisodiceError, match=r"status 3 \(its output: segmentation fault of a fake game"):
        play(env, 1)


# --- the end -------------------------------------------------------------------------------------------------------


def test_close_leaves_nothing(make: MakeEnv) -> None:
    env = make(2)
    env.reset(seed=0)
    pids, folder = [game.process.pid for game in env._games], env._folder
    env.close()
    assert all(gone(pid) for pid in pids)
    assert not folder.exists()


@pytest.mark.parametrize("signal", ["KILL", "INT", "TERM"])
def test_workers_end_with_their_parent(game_folder: Path, tmp_path: Path, signal: str) -> None:
    ledger = tmp_path / "ledger"
    program = (
        # A shell's background job ignores Ctrl-C, and so would its children.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys, time; from misodice.envs.starcraft2.env import Starcraft2Env\n"
        f"env = Starcraft2Env('zerg_5_vs_5', 2, command=[sys.executable, {str(FAKE)!r}, {str(ledger)!r}, 'none'])\n"
        "env.reset(seed=0); print('ready', flush=True); time.sleep(60)\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path),
        "TMPDIR": str(tmp_path),
    }
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        pids = [int(line.split()[1]) for line in ledger.read_text().splitlines() if line.startswith("start")]
        assert not any(gone(pid) for pid in pids)
        subprocess.run(["kill", f"-{signal}", str(parent.pid)], check=True)
        parent.wait(20)
    assert len(pids) == 2
    assert wait_until(lambda: all(gone(pid) for pid in pids))
