"""An export held against the policy it was made of, on random inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from misodice.export.agent import Agent
from misodice.export.formats import Inputs, Runner
from misodice.modules.policy import Policy

TOLERANCE = 1e-4
"""Greatest difference of an output, relative above 1: rounding is two orders below it, a wrong graph far above."""


class Samples(NamedTuple):
    """Inputs of an export, what the policy's network says to them, [rows, ·], and the outputs, both by name."""

    inputs: Inputs
    network: Tensor
    expected: Inputs


@dataclass(frozen=True)
class Difference:
    """Of an export from the original.

    Args:
        greatest: absolute difference of any output but a discrete action.
        equal_actions: share of greedy actions that are equal, continuous ones within `TOLERANCE`.
        tolerable: whether no output is off by more than `TOLERANCE`, nor the probability of a discrete action.
        rows: how many inputs were compared.
    """

    greatest: float
    equal_actions: float
    tolerable: bool
    rows: int


def random_samples(policy: Policy, agent: Agent, teams: int, seed: int = 0) -> Samples:
    """Inputs of `teams`·n rows about the data's mean, some far out, and what the policy answers as it is rolled out.

    It answers joint observations [teams, n, O], so an agent's id that went astray does not go unseen.
    """
    spec = policy.spec
    assert spec is not None
    draw = torch.Generator().manual_seed(seed)
    # A quarter is so far out that standardised entries are clamped.
    spread = torch.tensor([1.5, 1.5, 1.5, 8.0])[torch.arange(teams) % 4].reshape(-1, 1, 1)
    noise = torch.randn((teams, spec.n_agents, spec.obs_dim), generator=draw)
    obs = policy.standardise_obs.mean + spread * policy.standardise_obs.std * noise
    inputs = {"observation": obs.flatten(0, 1), "agent_id": torch.arange(spec.n_agents).repeat(teams)}
    available = None
    if spec.discrete:
        # From the one action that is always available to all of them.
        shape = (teams, spec.n_agents, spec.n_actions)
        available = torch.rand(shape, generator=draw) < torch.rand((teams, spec.n_agents, 1), generator=draw)
        available.scatter_(-1, torch.randint(spec.n_actions, (*shape[:2], 1), generator=draw), True)
        inputs["available_actions"] = available.flatten(0, 1)
    with torch.no_grad():
        network = policy(obs)
        answers = (policy.act(obs, available), *agent.parameters_of(network, available))
    expected = {name: x.flatten(0, 1) for name, x in zip(agent.outputs, answers, strict=True)}
    return Samples(inputs, network.flatten(0, 1), expected)


def compare(run: Runner, agent: Agent, samples: Samples) -> Difference:
    """How far `run` is from what is expected, asked with one row and then with all others at once."""
    parts = [run({name: x[part] for name, x in samples.inputs.items()}) for part in (slice(0, 1), slice(1, None))]
    found = dict(zip(agent.outputs, (torch.cat(part) for part in zip(*parts, strict=True)), strict=True))
    numbers = [name for name in agent.outputs if name != "action" or not agent.discrete]
    off = {name: (found[name].double() - samples.expected[name].double()).abs() for name in numbers}
    allowed = {name: TOLERANCE * samples.expected[name].abs().clamp(min=1.0) for name in numbers}
    # Not `>`: a NaN is refused too.
    tolerable = all(bool((off[name] <= allowed[name]).all()) for name in numbers)
    if agent.discrete:
        equal = found["action"] == samples.expected["action"]
        # Two actions that are equally probable but for rounding may change places.
        best, chosen = (_probability(agent, samples, actions["action"]) for actions in (samples.expected, found))
        tolerable &= bool((best - chosen <= TOLERANCE).all())
    else:
        equal = (off["action"] <= TOLERANCE).all(dim=-1)
    return Difference(
        greatest=max((float(values.max()) for values in off.values()), default=0.0),
        equal_actions=float(equal.float().mean()),
        tolerable=tolerable,
        rows=len(equal),
    )


def _probability(agent: Agent, samples: Samples, actions: Tensor) -> Tensor:
    """Of each row's action, [rows], by the original."""
    with torch.no_grad():
        return agent.head.log_prob(samples.network, actions, samples.inputs["available_actions"]).exp()
