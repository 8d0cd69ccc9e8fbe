"""Engine: which environment a config names, and what comes with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from rich.console import Console

from misodice.envs.base import Actor, TeamEnv
from misodice.errors import MisodiceError
from misodice.runs.limits import COUNT, NOT_NEGATIVE, TEXT, check_limits
from misodice.runs.parts import Part


@dataclass
class Source:
    """A part of a data set: who acts, how often, under which name.

    Args:
        behaviour: the name of a bundled policy (zerg_5_vs_5_expert, hopper_v5_poor), "random", "heuristic" (the
            engine's scripted player), the path of a policy's npz or of a trained policy's checkpoint, or the class path
            of an `Actor` of your own. {class_path, init_args} gives that actor options.
        episodes: how many.
        source: the name written beside each episode, hidden from training.
        noise: standard deviation of Gaussian noise on continuous actions of an npz policy.
    """

    behaviour: str | Callable[[TeamEnv], Actor]
    episodes: int
    source: str
    noise: float = 0.0

    def __post_init__(self) -> None:
        check_limits("sources", {"episodes": COUNT, "source": TEXT, "noise": NOT_NEGATIVE}, vars(self))


@dataclass(frozen=True)
class Outline:
    """What is known of an engine's environments without playing.

    Args:
        env: engine, task and options, as the header of an episodes file has them.
        obs_features: names of an agent's observation, [O]; None where they are not known.
        state_features: names of the state, [S]; None where they are not known.
        sizes: those that are known of "agents", "actions", "observation" and "state".
        from_actuators: cuts continuous actions of all joints [L, n·A] into the agents' [L, n, A].
    """

    env: dict[str, Any]
    obs_features: list[str] | None = None
    state_features: list[str] | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    from_actuators: Callable[[np.ndarray], np.ndarray] | None = None


class Engine(Part, ABC):
    """The config's `env`: which environment, with which options.

    A subclass has a `name`, takes its options in `__init__`, sets `task`, and makes environments in `make`. All else
    has a default. The constructor must be quick: import heavy packages in `make`.
    """

    name: ClassVar[str] = ""
    """What episodes files call the engine: header.env["engine"] of its environments."""
    discrete: ClassVar[bool | None] = None
    """Whether actions are discrete; None where that depends on the task."""
    batch_size: ClassVar[int] = 32
    """How many environments play at once when data are collected. The episodes of a seed depend on it."""
    basic_actions: ClassVar[tuple[str, ...]] = ()
    """Words for the first discrete actions, for descriptions of episodes. The actions after them are attacks."""

    task: str

    @abstractmethod
    def make(self, num_envs: int) -> TeamEnv:
        """Make `num_envs` environments, or as many of them as the engine allows.

        Raises:
            MisodiceError: the task is unknown, an option is wrong, or a package is not installed.
        """

    def resolve(self, console: Console | None = None) -> Engine:
        """The engine that is played on this machine: this one, unless it stands for several.

        Args:
            console: gets one line where the choice needs to be told; None tells nothing.
        """
        return self

    def for_file(self, env: Mapping[str, Any]) -> Engine:
        """The engine that plays what a file's header says: this one, unless it stands for several.

        Args:
            env: the header's `env`.
        """
        return self

    def data_name(self) -> str:
        """Stem of the episodes file that is made under data/ where a config names none."""
        return f"{self.name}_{self.task}".lower()

    def default_sources(self) -> list[Source]:
        """Who plays the episodes of that file.

        Raises:
            MisodiceError: nothing is bundled for the task.
        """
        raise MisodiceError(
            f"env: nothing is bundled for {self.name} {self.task}; name a file by --data.path, or make one with "
            "sources of your own: misodice collect --sources …"
        )

    def behaviours(self) -> dict[str, Path]:
        """The npz policies that come with the engine, by name."""
        return {}

    def scripted_actor(self, env: TeamEnv) -> Actor:
        """The engine's own scripted player, behaviour "heuristic".

        Args:
            env: made by this engine.

        Raises:
            MisodiceError: it has none.
        """
        raise MisodiceError(f"behaviour heuristic: engine {self.name} has no scripted player; choose another behaviour")

    def outline(self) -> Outline:
        """What is known of the environments without playing; the default makes one of them."""
        env = self.make(1)
        env.close()
        sizes = {"agents": env.n_agents, "actions": env.n_actions, "observation": env.obs_dim, "state": env.state_dim}
        header = env.header
        return Outline(header.env, header.obs_features, header.state_features, sizes, env.from_actuators)


def bundled(engine: str) -> dict[str, Path]:
    """The npz policies in this package for a built-in engine, by name."""
    folder = Path(str(files("misodice"))) / "behaviours" / engine
    return {path.stem: path for path in sorted(folder.glob("*.npz"))}
