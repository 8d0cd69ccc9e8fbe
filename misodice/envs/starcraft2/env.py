"""StarCraft II itself, through the smacv2 package: one process of the game for each environment."""

from __future__ import annotations

import importlib.util
import logging
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from misodice.data.episodes import Header
from misodice.envs.base import Actor, Observation, TeamEnv
from misodice.envs.starcraft2.process import WORKER, GameLostError, GameProcess
from misodice.envs.starcraft2.tasks import (
    INSTALL,
    check_map,
    find_game,
    obs_feature,
    state_feature,
    task_options,
    unit_types,
)
from misodice.errors import MisodiceError
from misodice.runs.processes import CAN_INHERIT

log = logging.getLogger(__name__)


def require_starcraft2() -> None:
    """Raises MisodiceError where the smacv2 package or the game is missing, with how to install it."""
    if not CAN_INHERIT:
        raise MisodiceError(
            "env StarCraft2 does not run on this system: its games' processes need Linux or macOS; use SMAX"
        )
    if importlib.util.find_spec("smacv2") is None:
        raise MisodiceError(
            "env StarCraft2 needs the smacv2 package, which is installed from its repository: "
            f"pip install --no-deps git+https://github.com/oxwhirl/smacv2; {INSTALL}"
        )
    find_game()


class Starcraft2Env(TeamEnv):
    """N games side by side, each in a process that starts in the background: the first `reset` waits for them.

    A game that dies or does not answer is started again at once. Its episode ends there: truncated, with
    info["lost"], bool [N], true; `misodice.rollout.loop.rollout` plays it again with the same seed.
    The seed of `reset` fixes teams, places and the package's own draws. The game's generator is seeded when its process
    starts, so the outcome of a fight is repeatable only from a fresh start.

    Args:
        task: {race}_{n}_vs_{m} of SMACv2, or a SMACv1 map such as 5m_vs_6m.
        num_envs: games at once.
        start_timeout: seconds a game has to start.
        timeout: seconds a game has to answer.
        max_failures: failures of one game without a finished episode in between that end the rollout.
        command: program of the worker processes.
    """

    has_outcome = True

    def __init__(
        self,
        task: str,
        num_envs: int,
        start_timeout: float = 180.0,
        timeout: float = 60.0,
        max_failures: int = 5,
        command: Sequence[str] = WORKER,
    ) -> None:
        self.task, self.num_envs, self.max_failures = task, num_envs, max_failures
        self.restarts = 0
        """How many games have been started again so far."""
        self._failures = [0] * num_envs
        self._lost = np.zeros(num_envs, bool)
        folder = tempfile.TemporaryDirectory(prefix="misodice-starcraft2-", ignore_cleanup_errors=True)
        self._folder = Path(folder.name)
        self._process_options: dict[str, Any] = {
            "command": list(command),
            "start_timeout": start_timeout,
            "timeout": timeout,
        }
        self._games: list[GameProcess] = []
        # Also at the interpreter's exit, however far the constructor came.
        self._end = weakref.finalize(self, _end_all, self._games, folder)
        self._games += [self._start(i) for i in range(num_envs)]
        self._describe()

    def _start(self, index: int) -> GameProcess:
        return GameProcess(self.task, self._folder / f"game_{index}", **self._process_options)

    def _describe(self) -> None:
        try:
            spec = self._games[0].spec()
            check_map(spec["map_file"])
        except (GameLostError, MisodiceError) as error:
            self._end()
            if isinstance(error, MisodiceError):
                raise
            raise MisodiceError(f"env StarCraft2: {error}; {INSTALL}") from error
        types = unit_types(self.task)
        self.header = Header(
            env={
                "engine": "starcraft2",
                "task": self.task,
                "version": spec["version"],
                "options": task_options(self.task),
            },
            obs_features=[obs_feature(name, types) for name in spec["obs_features"]],
            state_features=[state_feature(name, types) for name in spec["state_features"]],
        )
        n_agents, obs_dim, state_dim, n_actions = spec["sizes"]
        self.set_spaces(n_agents, obs_dim, state_dim, n_actions, discrete=True)
        self._ended = np.ones(self.num_envs, bool)
        self._observation: Observation = {
            "obs": np.zeros((self.num_envs, n_agents, obs_dim), np.float32),
            "state": np.zeros((self.num_envs, state_dim), np.float32),
            "available_actions": np.zeros((self.num_envs, n_agents, n_actions), bool),
        }

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode everywhere, or where options["reset_mask"], bool [N], is true.

        Raises:
            MisodiceError: a game failed `max_failures` times in a row.
        """
        seeds = np.random.SeedSequence(seed).generate_state(self.num_envs)  # type: ignore[arg-type]
        chosen = np.ones(self.num_envs, bool) if options is None else np.asarray(options["reset_mask"], bool)
        waiting = {int(i): ("reset", int(seeds[i])) for i in np.flatnonzero(chosen)}
        while waiting:
            for i, observed in self._ask(waiting).items():
                self._store(i, observed)
                del waiting[i]
        self._ended[chosen], self._lost[chosen] = False, False
        return self._copy(), {}

    def step(self, actions: np.ndarray) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One step everywhere; 8 loops of the game.

        Raises:
            ValueError: an action that is not available.
            MisodiceError: a game failed `max_failures` times in a row.
        """
        reward = np.zeros(self.num_envs, np.float32)
        terminated, truncated, won = (np.zeros(self.num_envs, bool) for _ in range(3))
        running = ~self._ended
        playing = running & ~self._lost
        self._check(actions, playing)
        answers = self._ask({int(i): ("step", actions[i]) for i in np.flatnonzero(playing)})
        for i, (observed, *outcome) in answers.items():
            self._store(i, observed)
            reward[i], terminated[i], truncated[i], won[i] = outcome
            if terminated[i] or truncated[i]:
                self._failures[i] = 0
        lost = running & self._lost
        truncated |= lost
        self._ended |= terminated | truncated
        return self._copy(), reward, terminated, truncated, {"won": won, "lost": lost}

    def heuristic_actions(self) -> np.ndarray:
        """What the package's scripted player would do next, int64 [N, n]."""
        actions = np.full((self.num_envs, self.n_agents), 0, np.int64)
        playing = np.flatnonzero(~self._ended & ~self._lost)
        for i, chosen in self._ask({int(i): ("heuristic",) for i in playing}).items():
            actions[i] = chosen
        return actions

    def render(self) -> tuple[np.ndarray, ...]:
        raise MisodiceError(
            "engine starcraft2 is not drawn here; StarCraft II saves replays of its own, which the game plays"
        )

    def close_extras(self, **kwargs: Any) -> None:
        self._end()

    def _ask(self, requests: dict[int, tuple[Any, ...]]) -> dict[int, Any]:
        """Answers of those games that gave one; the others are lost and already starting again."""
        for i, request in requests.items():
            self._games[i].send(request)
        answers = {}
        for i in requests:
            try:
                answers[i] = self._games[i].answer()
            except GameLostError as error:
                self._restart(i, error)
        return answers

    def _restart(self, i: int, error: GameLostError) -> None:
        self._lost[i] = True
        self._games[i].kill()
        self._failures[i] += 1
        if self._failures[i] >= self.max_failures:
            raise MisodiceError(
                f"starcraft2: game {i} of {self.task} failed {self._failures[i]} times without finishing an episode; "
                f"last: {error}; check the game's installation and the memory; `fit` goes on with --ckpt_path last"
            ) from error
        self.restarts += 1
        log.warning(
            "starcraft2: game %d of %s failed (%s); started again, restart %d; its episode is repeated",
            *(i, self.task, error, self.restarts),
        )
        self._games[i] = self._start(i)

    def _check(self, actions: np.ndarray, playing: np.ndarray) -> None:
        available = self._observation["available_actions"]
        allowed = np.take_along_axis(available, np.asarray(actions)[..., None], -1)[..., 0] | ~playing[:, None]
        if not allowed.all():
            i, agent = np.argwhere(~allowed)[0]
            raise ValueError(f"action {actions[i, agent]} of agent {agent} in environment {i} is not available")

    def _store(self, i: int, observed: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
        for name, values in zip(("obs", "state", "available_actions"), observed, strict=True):
            self._observation[name][i] = values

    def _copy(self) -> Observation:
        return {name: values.copy() for name, values in self._observation.items()}


class HeuristicActor(Actor):
    """The package's scripted player: attack the nearest enemy, walk to it where it is out of range."""

    def __init__(self, env: Starcraft2Env) -> None:
        self.env = env

    def reset(self, n_envs: int, seed: int) -> None:
        """It draws nothing."""

    def act(self, observation: Observation) -> np.ndarray:
        return self.env.heuristic_actions()


def _end_all(games: list[GameProcess], folder: tempfile.TemporaryDirectory[str]) -> None:
    for game in games:
        game.kill()
    folder.cleanup()
