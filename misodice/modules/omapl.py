"""O-MAPL: soft Q- and V-functions from preferences, and the reward Q − γV̄ that they imply (paper 4, B.2.3)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from misodice.datamodules.batches import PairBatch, Spec, Transition
from misodice.modules import dice
from misodice.modules.mixers import HyperMixer, Mixer
from misodice.modules.networks import AgentMLP, Network, encode_actions
from misodice.modules.reward_stage import RewardStage
from misodice.runs.limits import AT_LEAST_1, SHARE, limited, number
from misodice.runs.parts import factory_of

TEMPERATURE = number("a number from 0.001 to 1000000", 1e-3, 1e6)
"""What divides an advantage: with less, 32 bits overflow."""
TAKEN_OVER = number("a share, more than 0 and at most 1", 0.0, 1.0, without=[0.0])
"""With 0 the copies would stay as they began."""


class OMAPL(RewardStage):
    r"""Local q_i and v_i with shared weights, one mixer for both, and slow copies of all three.

    .. math:: r = Q_{tot}(s, a) - \gamma (1 - d) \bar V_{tot}(s')

    The local v_i are the soft maxima of the q_i, learnt by Extreme-V regression; the predict pass writes r, and the
    local weights exp(w̄_i (q_i − v_i)/β) that the baseline OMAPL clones by.

    Args:
        mixer: class of the mixer, made with (n_agents, state_dim).
        network: class of the agents' networks, made with (n_agents, inputs, outputs).
        gamma: γ, the discount.
        beta: β, the temperature of Extreme-V.
        tau: share of the networks that the copies take over after each step.
        max_weight: clip of the normalised local weights.
        options: those of `RewardStage`.

    Raises:
        MisodiceError: gamma is no share, beta not from 0.001 to 1000000, tau 0 or no share, or max_weight less than 1.
    """

    writes = ("reward", "local_weight")

    @limited(gamma=SHARE, beta=TEMPERATURE, tau=TAKEN_OVER, max_weight=AT_LEAST_1)
    def __init__(
        self,
        mixer: Callable[[int, int], Mixer] = HyperMixer,
        network: Callable[[int, int, int], Network] = AgentMLP,
        gamma: float = 0.99,
        beta: float = 10.0,
        tau: float = 0.005,
        max_weight: float = 100.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.mixer_class = factory_of(mixer, Mixer, "preference.mixer")
        self.network_class = factory_of(network, Network, "preference.network")
        self.gamma, self.beta, self.tau, self.max_weight = gamma, beta, tau, max_weight

    def build(self, spec: Spec) -> None:
        self.n_actions = spec.n_actions
        self.q = self.network_class(spec.n_agents, spec.obs_dim + spec.n_actions, 1)
        self.v = self.network_class(spec.n_agents, spec.obs_dim, 1)
        # Rewards start at 0. Random ones are large in the sum of 1000: a pair's first loss was 40, a coin's is 0.69;
        # where answers were flipped nothing better was found from there.
        self.q.start_at_zero()
        self.v.start_at_zero()
        self.mixer = self.mixer_class(spec.n_agents, spec.state_dim)
        self.target = torch.nn.ModuleList(copy.deepcopy([self.q, self.v, self.mixer])).requires_grad_(False)

    def reward(self, transition: Transition) -> Tensor:
        return self._reward(self._acted(self.standardise_obs(transition.obs), transition), transition)

    def local_advantage(self, transition: Transition) -> Tensor:
        """w̄_i(s)·(q̄_i − v_i)/β, [M, n]: what Extreme-V regresses, and the log of the local weights."""
        obs = self.standardise_obs(transition.obs)
        return self._local_advantage(obs, self._acted(obs, transition), transition)

    def _acted(self, obs: Tensor, transition: Transition) -> Tensor:
        """Standardised obs and actions side by side, the input of q, [M, n, O + A]."""
        return torch.cat([obs, encode_actions(transition.actions, self.n_actions)], dim=-1)

    def _reward(self, acted: Tensor, transition: Transition) -> Tensor:
        _, target_v, target_mixer = self.target
        total = self.mix(self.mixer, self.q(acted).squeeze(-1), transition.state)
        with torch.no_grad():
            local = target_v(self.standardise_obs(transition.next_obs)).squeeze(-1)
            following = self.mix(target_mixer, local, transition.next_state)
        return total - self.gamma * (1.0 - transition.terminated) * following

    def _local_advantage(self, obs: Tensor, acted: Tensor, transition: Transition) -> Tensor:
        target_q, _, target_mixer = self.target
        with torch.no_grad():
            q = target_q(acted).squeeze(-1)
        slope = _slope(target_mixer, q, self.standardise_state(transition.state))
        v: Tensor = self.v(obs).squeeze(-1)
        advantage: Tensor = slope * (q - v) / self.beta
        return advantage

    def loss(self, batch: PairBatch) -> tuple[Tensor, dict[str, Tensor]]:
        transition = batch.transition
        # Three networks read these inputs; they are made once.
        obs = self.standardise_obs(transition.obs)
        acted = self._acted(obs, transition)
        loss, cross_entropy = self.preference_loss(batch, self._reward(acted, transition))
        value_loss = dice.extreme_value_loss(self._local_advantage(obs, acted, transition))
        # The two share no parameter: the one moves q and the mixer, the other v.
        return loss + value_loss, {"loss": cross_entropy, "value_loss": value_loss}

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        with torch.no_grad():
            for slow, fast in zip(self.target, (self.q, self.v, self.mixer), strict=True):
                for old, new in zip(slow.parameters(), fast.parameters(), strict=True):
                    old.lerp_(new, self.tau)

    def predict_step(self, batch: Transition, batch_idx: int) -> dict[str, Tensor]:
        obs = self.standardise_obs(batch.obs)
        acted = self._acted(obs, batch)
        return {"reward": self._reward(acted, batch), "local_weight": self._local_advantage(obs, acted, batch)}

    def finish(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        """Normalised local weights from their logs over the whole of D_U."""
        log_weight = columns["local_weight"].double()
        return columns | {"local_weight": dice.normalise_weights(log_weight, self.max_weight).float()}


def _slope(mixer: torch.nn.Module, values: Tensor, state: Tensor) -> Tensor:
    """w_i(s) = ∂M/∂q_i, [M, n]: of any mixer, with no method of its own for it."""
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(values.device.type, enabled=False):
        values, state = values.clone().requires_grad_(), state.clone()
        (slope,) = torch.autograd.grad(mixer(values, state).sum(), values)
    return slope
