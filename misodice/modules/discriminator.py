"""Stage 1, the discriminator: log ρ_E/ρ_U of every transition (paper 5.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torchmetrics.classification import BinaryAUROC

from misodice.datamodules.batches import DiscriminatorBatch, Spec, Step
from misodice.datamodules.experts_and_union import ExpertsAndUnion
from misodice.datamodules.inputs import Inputs
from misodice.errors import MisodiceError
from misodice.modules import dice
from misodice.modules.mixers import HyperMixer, Mixer
from misodice.modules.networks import AgentMLP, Network, encode_actions
from misodice.modules.stage import Stage
from misodice.runs.limits import COUNT, limited
from misodice.runs.parts import factory_of, made_by


class Discriminator(Stage):
    r"""Tells D_E from D_U by local discriminators and a mixer.

    .. math:: \max_{c,\eta} E_{\rho_E}[\log M_\eta[c(s,a)]] + E_{\rho_U}[\log(1 - M_\eta[c(s,a)])] \quad (9)

    A part of D_E's episodes is held out and the epoch with the least held-out loss is kept: as D_E ⊂ D_U with mass p,
    log_ratio ≤ log(1/p) at the optimum, and what is above it on average is memorised.

    Args:
        mixer: class of the mixer, made with (n_agents, state_dim). `mixing: probability` has none.
        mixing: "logit", c = σ(M[z_i]), concave in the local logits; or "probability", c = Σ η_i σ(z_i) (Eq. 13
            to the letter), where η(s) is the softmax of a linear layer of the state. A mixer of values has no part in
            it, so `mixer` must keep its default.
        network: class of the agents' network, made with (n_agents, inputs, outputs).
        lr: Adam's learning rate (Table 3, critic).
        epochs: passes over D_U at most.
        patience: epochs without a better held-out loss after which training stops.

    Raises:
        MisodiceError: patience is less than 1, or there is a mixer beside `mixing: probability`.
    """

    name = "discriminator"
    writes = ("log_ratio",)
    monitor = "discriminator/held_out_loss"

    @limited(patience=COUNT)
    def __init__(
        self,
        mixer: Callable[[int, int], Mixer] = HyperMixer,
        mixing: Literal["logit", "probability"] = "logit",
        network: Callable[[int, int, int], Network] = AgentMLP,
        lr: float = 3e-4,
        epochs: int = 20,
        patience: int = 5,
    ) -> None:
        super().__init__(lr, epochs)
        if mixing == "probability" and made_by(mixer) is not HyperMixer:
            raise MisodiceError(
                f"discriminator: mixer is {made_by(mixer).__name__} and mixing is probability, which has weights of "
                "its own in place of a mixer; leave the mixer out, or set mixing to logit"
            )
        self.mixer_class = factory_of(mixer, Mixer, "discriminator.mixer")
        self.network_class = factory_of(network, Network, "discriminator.network")
        self.mixing = mixing
        self.patience = patience
        # Bins, so that memory does not grow with the data.
        self.auroc = BinaryAUROC(thresholds=200)

    @property
    def needs_experts(self) -> bool:
        return True

    def datamodule(self, inputs: Inputs) -> ExpertsAndUnion:
        return ExpertsAndUnion(inputs.table, inputs.known_experts, inputs.batch_size, inputs.seed)

    def build(self, spec: Spec) -> None:
        self.local = self.network_class(spec.n_agents, spec.obs_dim + spec.n_actions, 1)
        self.n_actions = spec.n_actions
        self.mixer: nn.Module
        if self.mixing == "logit":
            self.mixer = self.mixer_class(spec.n_agents, spec.state_dim)
        else:
            # The simplex weights η(s) are this mode's mixer: a mixer of values has no say in them.
            self.mixer = nn.Linear(spec.state_dim, spec.n_agents)

    def forward(self, step: Step) -> Tensor:
        """log ρ_E/ρ_U = logit of c(s, a), [B] ([B, n] with IndependentMixer)."""
        actions = encode_actions(step.actions, self.n_actions)
        logits = self.local(torch.cat([self.standardise_obs(step.obs), actions], dim=-1)).squeeze(-1)
        if self.mixing == "logit":
            return self.mix(self.mixer, logits, step.state)
        eta = self.mixer(self.standardise_state(step.state)).to(logits.dtype)
        return dice.mix_probabilities(logits, torch.log_softmax(eta, dim=-1))

    def loss(self, batch: DiscriminatorBatch) -> tuple[Tensor, dict[str, Tensor]]:
        loss = dice.discriminator_loss(self(batch.step), batch.expert, batch.union)
        return loss, {"loss": loss}

    def validation_step(self, batch: DiscriminatorBatch, batch_idx: int) -> None:
        logit = self(batch.step)
        expert, union = dice.like(batch.expert, logit), dice.like(batch.union, logit)
        self.auroc.update(logit.flatten(), (expert > 0).expand_as(logit).flatten().long())
        self.log_dict(
            {
                "discriminator/held_out_loss": dice.discriminator_loss(logit, batch.expert, batch.union),
                "discriminator/held_out_log_ratio": (expert * logit).mean(),
                "discriminator/union_log_ratio": (union * logit).mean(),
            },
            batch_size=len(batch),
            sync_dist=True,
        )
        self.log("discriminator/held_out_auroc", self.auroc)

    def predict_step(self, batch: Step, batch_idx: int) -> dict[str, Tensor]:
        return {"log_ratio": self(batch)}
