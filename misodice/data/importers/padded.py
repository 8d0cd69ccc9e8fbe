"""Episodes padded to one length beside a mask of the real steps: what O-MAPL's and ComaDICE's files share.

T steps of padding included, n agents: states [T+1, S] or [T+1, n, S], obs [T+1, n, O], avails [T+1, n, A] (discrete
actions only), actions [T, n] or [T, n, A], of which ComaDICE's MuJoCo files have a row too many, rewards, dones and
actives [T] or [T, n].
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from misodice.data.episodes import Episode
from misodice.data.importers.base import as_actions, as_dones, as_flags, as_floats, fault, fits, shared_reward

REQUIRED = ("states", "obs", "actions", "rewards", "dones", "actives")
FIELDS = (*REQUIRED, "avails")
Shapes = Mapping[str, tuple[int, ...]]


def check_shapes(where: object, shapes: Shapes, suffix: str = "") -> bool:
    """Hold the shapes of one episode's fields against each other; whether its actions are discrete.

    Raises:
        MisodiceError: a shape does not fit the others.
    """

    def check(field: str, *expected: tuple[int | None, ...]) -> None:
        found = shapes[field]
        if any(fits(found, shape) for shape in expected):
            return
        words = " or ".join("[" + ", ".join("any" if i is None else str(i) for i in shape) + "]" for shape in expected)
        raise fault(where, field + suffix, f"{list(found)} for one episode", words)

    check("actives", (None,), (None, None))
    steps = shapes["actives"][0]
    check("obs", (steps + 1, None, None))
    n = shapes["obs"][1]
    if not (steps and n and shapes["obs"][2]):
        raise fault(where, "obs" + suffix, f"{list(shapes['obs'])} for one episode", "no empty dimension")
    check("states", (steps + 1, None), (steps + 1, n, None))
    for field in ("actives", "rewards", "dones"):
        check(field, (steps,), (steps, n))
    discrete = "avails" in shapes
    if discrete:
        check("avails", (steps + 1, n, None))
        check("actions", (steps, n), (steps, n, 1))
    elif len(shapes["actions"]) == 2:
        raise fault(where, "avails" + suffix, "nothing", f"[{steps + 1}, {n}, A] beside discrete actions {steps, n}")
    else:
        check("actions", (steps, n, None), (steps + 1, n, None))
    return discrete


def length(where: object, actives: np.ndarray, suffix: str = "") -> int:
    """Number of real steps by the mask [T] or [T, n].

    Raises:
        MisodiceError: the real steps are not the first ones, or the agents' masks differ.
    """
    mask = as_flags(where, "actives" + suffix, actives).reshape(len(actives), -1)
    if (mask != mask[:, :1]).any():
        raise fault(where, "actives" + suffix, "agents with different steps", "one mask for all agents")
    steps = int(mask[:, 0].sum())
    if not mask[:steps, 0].all():
        raise fault(where, "actives" + suffix, "a gap among the real steps", "real steps first, then padding")
    return steps


def cut(where: object, fields: Mapping[str, np.ndarray], suffix: str = "") -> Episode | None:
    """The real part of one padded episode; None where there is no real step.

    Raises:
        MisodiceError: a value is not finite, an action was not available, or `dones` are set before the end.
    """
    steps = length(where, fields["actives"], suffix)
    if not steps:
        return None

    def floats(field: str, count: int) -> np.ndarray:
        return as_floats(where, field + suffix, fields[field][:count])

    dones = as_dones(where, "dones" + suffix, fields["dones"][:steps])
    rewards = shared_reward(floats("rewards", steps))
    truncated = np.zeros(steps, bool)
    truncated[-1] = not dones[-1]
    available = None
    if "avails" in fields:
        available = as_flags(where, "avails" + suffix, fields["avails"][: steps + 1])
        n_agents = available.shape[1]
        taken = fields["actions"][:steps].reshape(steps, n_agents)
        actions = as_actions(where, "actions" + suffix, taken, available)
    else:
        actions = floats("actions", steps)
    return Episode(
        obs=floats("obs", steps + 1),
        state=floats("states", steps + 1).reshape(steps + 1, -1),
        actions=actions,
        terminated=dones,
        truncated=truncated,
        rewards=rewards,
        available_actions=available,
    )


def greatest(where: object, actions: np.ndarray, steps: int, suffix: str = "") -> float:
    """Greatest |action| of the real steps of one episode; 0 without a step."""
    return float(np.abs(as_floats(where, "actions" + suffix, actions[:steps])).max(initial=0.0))
