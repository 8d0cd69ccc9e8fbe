"""The alternative in the preference slot: a reward by Bradley-Terry alone (paper B.3.4, MARL-SL)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from misodice.datamodules.batches import Spec, Transition
from misodice.modules.mixers import HyperMixer, Mixer
from misodice.modules.networks import AgentMLP, Network, encode_actions
from misodice.modules.reward_stage import RewardStage
from misodice.runs.parts import factory_of


class RewardModel(RewardStage):
    """Supervised reward r(s, a) = M[r_i(o_i, a_i)], without Q- and V-functions.

    Args:
        mixer: class of the mixer, made with (n_agents, state_dim).
        network: class of the agents' network, made with (n_agents, inputs, outputs).
        options: those of `RewardStage`.
    """

    def __init__(
        self,
        mixer: Callable[[int, int], Mixer] = HyperMixer,
        network: Callable[[int, int, int], Network] = AgentMLP,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.mixer_class = factory_of(mixer, Mixer, "preference.mixer")
        self.network_class = factory_of(network, Network, "preference.network")

    def build(self, spec: Spec) -> None:
        self.n_actions = spec.n_actions
        self.local = self.network_class(spec.n_agents, spec.obs_dim + spec.n_actions, 1)
        self.local.start_at_zero()  # as O-MAPL's rewards do
        self.mixer = self.mixer_class(spec.n_agents, spec.state_dim)

    def reward(self, transition: Transition) -> Tensor:
        actions = encode_actions(transition.actions, self.n_actions)
        local = self.local(torch.cat([self.standardise_obs(transition.obs), actions], dim=-1)).squeeze(-1)
        return self.mix(self.mixer, local, transition.state)
