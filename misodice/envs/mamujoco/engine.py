"""The engine MaMuJoCo."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Literal

from misodice.envs.base import TeamEnv
from misodice.envs.engine import Engine, Source, bundled
from misodice.errors import MisodiceError
from misodice.runs.limits import TEXT, limited, one_of, or_none, whole


class MaMuJoCo(Engine):
    """Multi-agent MuJoCo of gymnasium-robotics: a body's joints are shared out among agents.

    Args:
        task: scenario such as Hopper, Ant, HalfCheetah or Walker2d.
        partition: of the body into agents, such as 3x1; null is the paper's of Hopper, Ant and HalfCheetah.
        layout: of observations: "paper" is the full state and an id for every agent; null uses `agent_obsk`.
        agent_obsk: how many neighbouring joints an agent sees, with layout null.
    """

    name = "mamujoco"
    discrete = False

    @limited("env", task=TEXT, partition=or_none(TEXT), layout=or_none(one_of("paper")), agent_obsk=or_none(whole(0)))
    def __init__(
        self,
        task: str = "Hopper",
        partition: str | None = None,
        layout: Literal["paper"] | None = "paper",
        agent_obsk: int | None = None,
    ) -> None:
        self.task, self.partition, self.layout, self.agent_obsk = task, partition, layout, agent_obsk

    def make(self, num_envs: int) -> TeamEnv:
        if importlib.util.find_spec("gymnasium_robotics") is None:
            raise MisodiceError("env MaMuJoCo needs gymnasium_robotics: pip install 'misodice[mamujoco]'")
        try:
            from misodice.envs.mamujoco.env import MamujocoEnv  # late: it brings MuJoCo
        except (RuntimeError, ImportError, AttributeError) as error:
            variable = os.environ.get("MUJOCO_GL")
            how = "without MUJOCO_GL" if variable is None else f"with MUJOCO_GL={variable}"
            remedy = "set it" if variable is None else "unset it, or set it"
            raise MisodiceError(
                f"MuJoCo cannot be loaded {how} ({error}); {remedy} to egl (with libegl1 installed) or osmesa (with "
                "libosmesa6)"
            ) from error

        return MamujocoEnv(self.task, self.partition, self.layout, self.agent_obsk, num_envs)

    def data_name(self) -> str:
        parts = [self.name, self.task, self.partition, self.layout or f"obsk{self.agent_obsk}"]
        return "_".join(part for part in parts if part).lower()

    def default_sources(self) -> list[Source]:
        poor = {
            "Hopper": [Source("hopper_v5_poor", 500, "poor"), Source("hopper_v5_medium_low", 500, "poor", 0.3)],
            "Ant": [Source("ant_v5_poor", 500, "poor"), Source("random", 500, "random")],
            "HalfCheetah": [Source("halfcheetah_v5_low", 500, "poor"), Source("random", 500, "random")],
        }
        if self.task not in poor:
            raise MisodiceError(
                f"env.task: nothing is bundled for {self.task!r}, only for {', '.join(poor)}; correct the name, or "
                "collect with sources of your own: misodice collect --sources …"
            )
        return [Source(f"{self.task.lower()}_v5_expert", 200, "expert"), *poor[self.task]]

    def behaviours(self) -> dict[str, Path]:
        return bundled(self.name)
