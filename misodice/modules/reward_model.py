"""The alternative in the preference slot: a reward by Bradley-Terry alone (paper B.3.4, MARL-SL)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from misodice.datamodules.batches import PairBatch, Spec, Transition
from misodice.modules.mixers import HyperMixer, Mixer
from misodice.modules.networks import AgentMLP, encode_actions, start_at_zero
from misodice.modules.reward_stage import Preference


class RewardModel(Preference):
    """Supervised reward r(s, a) = M[r_i(o_i, a_i)], without Q- and V-functions.

    Args:
        mixer: class of the mixer, made with (n_agents, state_dim).
        regulariser, pairs, max_steps, patience: see `Preference`.
        hidden: widths of the local network.
        lr: Adam's learning rate.
        epochs: passes over the pairs.
    """

    def __init__(
        self,
        mixer: Callable[[int, int], Mixer] = HyperMixer,
        regulariser: float = 0.5,
        pairs: int = 64,
        max_steps: int = 20,
        patience: int = 5,
        hidden: tuple[int, ...] = (256, 256),
        lr: float = 3e-4,
        epochs: int = 15,
    ) -> None:
        super().__init__(regulariser, pairs, max_steps, patience, lr, epochs)
        self.mixer_class, self.hidden = mixer, hidden

    def build(self, spec: Spec) -> None:
        self.build_metrics()
        self.n_actions = spec.n_actions
        self.local = AgentMLP(spec.n_agents, spec.obs_dim + spec.n_actions, 1, self.hidden)
        start_at_zero(self.local.output)  # as O-MAPL's rewards do
        self.mixer = self.mixer_class(spec.n_agents, spec.state_dim)

    def reward(self, transition: Transition) -> Tensor:
        actions = encode_actions(transition.actions, self.n_actions)
        local = self.local(torch.cat([self.standardise_obs(transition.obs), actions], dim=-1)).squeeze(-1)
        return self.mix(self.mixer, local, transition.state)

    def loss(self, batch: PairBatch) -> tuple[Tensor, dict[str, Tensor]]:
        loss, cross_entropy = self.preference_loss(batch, self.reward(batch.transition))
        return loss, {"loss": cross_entropy}

    def predict_step(self, batch: Transition, batch_idx: int) -> dict[str, Tensor]:
        return {"reward": self.reward(batch)}
