"""Bodies in several processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from misodice.envs import Actor, MaMuJoCo
from misodice.envs.mamujoco.env import _cores
from misodice.errors import MisodiceError
from misodice.rollout.loop import rollout
from tests.helpers.processes import gone

ROOT = Path(__file__).parents[2]


@pytest.fixture
def processes(monkeypatch):
    """Sets the number of processes that an environment made next has."""
    return lambda number: monkeypatch.setenv("OMP_NUM_THREADS", str(number))


def play(engine: MaMuJoCo) -> list[np.ndarray]:
    """Observations and outcomes of 60 random steps of three bodies, some of which end meanwhile."""
    env = engine.make(3)
    rng = np.random.default_rng(0)
    observation, _ = env.reset(seed=7)
    seen = [*observation.values()]
    ended = np.zeros(3, bool)
    for _ in range(60):
        observation, *outcome, _ = env.step(rng.uniform(-1.5, 1.5, (3, env.n_agents, env.n_actions)).astype(np.float32))
        seen += [*observation.values(), *outcome]
        ended |= outcome[1]
    assert engine.task != "Hopper" or ended.any()
    env.close()
    return seen


@pytest.mark.parametrize(
    "engine",
    [
        MaMuJoCo("Hopper", "3x1"),
        MaMuJoCo("Ant", "2x4"),
        MaMuJoCo("Ant", "4x2", layout=None, agent_obsk=1),
    ],
    ids=["paper", "ant", "obsk"],
)
def test_processes_change_nothing(engine, processes):
    processes(1)
    alone = play(engine)
    processes(3)
    for one, many in zip(alone, play(engine), strict=True):
        np.testing.assert_array_equal(one, many)


@pytest.mark.parametrize(("given", "expected"), [("3", 3), ("2,4", 2), ("0", None), ("many", None), ("", None)])
def test_bodies_are_shared_out_among_as_many_processes_as_threads_are_wanted(processes, given, expected):
    processes(given)
    env = MaMuJoCo("Hopper", "3x1").make(4)
    assert 1 + len(env._processes) == (expected or min(4, _cores()))
    env.close()


def test_agents_and_joints_are_each_others_inverse():
    env = MaMuJoCo("Ant", "2x4").make(1)
    actions = np.random.default_rng(0).uniform(-1, 1, (5, 2, 4)).astype(np.float32)
    np.testing.assert_array_equal(env.from_actuators(env.to_actuators(actions)), actions)
    env.close()


class Wild(Actor):
    """Actions beyond what joints can do, as of a policy from data of a larger scale."""

    def reset(self, n_envs: int, seed: int) -> None:
        self.shape = (n_envs, 3, 1)

    def act(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        return np.full(self.shape, 4.0, np.float32)


def test_an_episode_tells_the_actions_that_were_carried_out():
    env = MaMuJoCo("Hopper", "3x1").make(2)
    for episode in rollout(env, Wild(), 2, 0):
        np.testing.assert_array_equal(episode.actions, 1.0)
    env.close()


def test_a_process_that_is_gone_is_told(processes):
    processes(2)
    env = MaMuJoCo("Hopper", "3x1").make(2)
    env.reset(seed=0)
    env._processes[0].process.kill()
    with pytest.raises(MisodiceError, match="ended with status -9"):
        env.reset(seed=0)
    env.close()


def test_no_process_outlives_its_parent():
    code = (
        "import os; os.environ['OMP_NUM_THREADS'] = '2'\n"
        "from misodice.envs import MaMuJoCo\n"
        "env = MaMuJoCo('Hopper', '3x1').make(2); env.reset(seed=0)\n"
        "print(env._processes[0].process.pid, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert not gone(child)
        parent.send_signal(signal.SIGKILL)
    for _ in range(100):
        if gone(child):
            return
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the bodies' process lives on")
