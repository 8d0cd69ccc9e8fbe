"""The batches the stages get; every shape is stated once, here.

B transitions, n agents, O observation entries, S state entries, A actions (discrete) or action entries (continuous).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class Spec:
    """What the networks must know of the data, and what it says of itself; plain values, kept in every checkpoint.

    env, obs_features and action_scale are the episodes file's own words (see `misodice.data.episodes.Header`): a
    checkpoint that has left its run can still tell what it acts in. Older checkpoints lack them.
    """

    n_agents: int
    obs_dim: int
    state_dim: int
    n_actions: int
    discrete: bool
    obs_mean: list[float]
    obs_std: list[float]
    state_mean: list[float]
    state_std: list[float]
    env: dict[str, Any] = field(default_factory=dict)
    obs_features: list[str] = field(default_factory=list)
    action_scale: float = 1.0
    """What the data's continuous actions were divided by: the environment's are so many times the policy's."""


@dataclass
class ExpertFlags:
    """expert [B]: 1 where the transition's episode is in D_E, else 0."""

    expert: Tensor


@dataclass
class Step:
    """What was seen and done: obs [B, n, O], state [B, S], actions [B, n] int64 or [B, n, A] float."""

    obs: Tensor
    state: Tensor
    actions: Tensor


@dataclass
class DiscriminatorBatch:
    """Transitions of one draw, and what each counts in the expectation over D_E and in the one over D_U.

    expert, union [B]: importance weights of mean 1 over many batches. D_E is a part of D_U, so one draw serves both.
    """

    step: Step
    expert: Tensor
    union: Tensor

    def __len__(self) -> int:
        return len(self.union)


@dataclass
class ValueBatch:
    """W windows of L consecutive transitions of D_U, B = W·L, and initial states in their own sample.

    obs [W, L+1, n, O] and state [W, L+1, S]: the successor of row j is row j + 1, so each row is evaluated once; last
    [W, L]: 1 at an episode's end, where row j + 1 may be of another episode; log_ratio [W, L] or [W, L, n]; initial_obs
    [B₀, n, O], initial_state [B₀, S]; absorbing [W, L], bool: where a final state follows upon itself, or None.
    """

    obs: Tensor
    state: Tensor
    last: Tensor
    log_ratio: Tensor
    initial_obs: Tensor
    initial_state: Tensor
    absorbing: Tensor | None = None

    def __len__(self) -> int:
        return self.last.numel()


@dataclass
class PolicyBatch:
    """obs [B, n, O], actions [B, n] or [B, n, A], available_actions [B, n, A] bool or None, weight [B] or [B, n].

    Transitions of greater weight are drawn more often, and `weight` is what is left to weigh by.
    """

    obs: Tensor
    actions: Tensor
    available_actions: Tensor | None
    weight: Tensor

    def __len__(self) -> int:
        return len(self.obs)


@dataclass
class Transition:
    """A step and what followed: obs and next_obs [M, n, O], state and next_state [M, S], actions as in `Step`.

    terminated [M] is 1 where the episode ended by the environment's own rules, and nothing follows.
    """

    obs: Tensor
    state: Tensor
    actions: Tensor
    next_obs: Tensor
    next_state: Tensor
    terminated: Tensor


@dataclass
class PairBatch:
    """P pairs of episodes, as the M real steps of both with nothing padded between them.

    side [M]: 2·pair for a step of its first episode, 2·pair + 1 of its second; weight [M]: how many steps of the
    episode one stands for; first [P]: 1 where the first episode is the better one.
    """

    transition: Transition
    side: Tensor
    weight: Tensor
    first: Tensor

    def __len__(self) -> int:
        return len(self.first)
