"""Stage 1, the discriminator: log ρ_E/ρ_U of every transition (paper 5.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torchmetrics.classification import BinaryAUROC

from misodice.datamodules.batches import DiscriminatorBatch, Spec, Step
from misodice.modules import dice
from misodice.modules.mixers import HyperMixer, Mixer
from misodice.modules.networks import AgentMLP, encode_actions
from misodice.modules.stage import Stage

if TYPE_CHECKING:
    from misodice.datamodules.loader import Batches
    from misodice.datamodules.table import Transitions


class Discriminator(Stage):
    r"""Tells D_E from D_U by local discriminators and a mixer.

    .. math:: \max_{c,\eta} E_{\rho_E}[\log M_\eta[c(s,a)]] + E_{\rho_U}[\log(1 - M_\eta[c(s,a)])] \quad (9)

    A part of D_E's episodes is held out and the epoch with the least held-out loss is kept: as D_E ⊂ D_U with mass p,
    log_ratio ≤ log(1/p) at the optimum, and what is above it on average is memorised.

    Args:
        mixer: class of the mixer, made with (n_agents, state_dim).
        mixing: "logit", c = σ(M[z_i]), concave in the local logits; or "probability", c = Σ η_i σ(z_i) (Eq. 13
            to the letter), where η is the softmax of the mixer's per-agent response.
        hidden: widths of the local network.
        lr: Adam's learning rate (Table 3, critic).
        epochs: passes over D_U at most.
        patience: epochs without a better held-out loss after which training stops.
    """

    name = "discriminator"
    writes = ("log_ratio",)
    monitor = "discriminator/held_out_loss"

    def __init__(
        self,
        mixer: Callable[[int, int], Mixer] = HyperMixer,
        mixing: Literal["logit", "probability"] = "logit",
        hidden: tuple[int, ...] = (256, 256),
        lr: float = 3e-4,
        epochs: int = 20,
        patience: int = 5,
    ) -> None:
        super().__init__(lr, epochs)
        self.mixer_class = mixer
        self.mixing = mixing
        self.hidden = hidden
        self.patience = patience
        # Bins, so that memory does not grow with the data.
        self.auroc = BinaryAUROC(thresholds=200)

    def holds_out(self, data: Transitions) -> bool:
        return data.holds_out

    @property
    def needs_experts(self) -> bool:
        return True

    def train_batches(self, data: Transitions) -> Batches[DiscriminatorBatch]:
        return data.expert_and_union_batches(held_out=False)

    def val_batches(self, data: Transitions) -> Batches[DiscriminatorBatch] | None:
        return data.expert_and_union_batches(held_out=True) if data.holds_out else None

    def predict_batches(self, data: Transitions) -> Batches[Step]:
        return data.step_batches()

    def build(self, spec: Spec) -> None:
        self.local = AgentMLP(spec.n_agents, spec.obs_dim + spec.n_actions, 1, self.hidden)
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
        loss = dice.discriminator_loss(self(batch.expert), self(batch.union))
        return loss, {"loss": loss}

    def validation_step(self, batch: DiscriminatorBatch, batch_idx: int) -> None:
        expert, union = self(batch.expert), self(batch.union)
        logits = torch.cat([expert, union]).flatten()
        self.auroc.update(logits, (torch.arange(len(logits), device=logits.device) < expert.numel()).long())
        self.log_dict(
            {
                "discriminator/held_out_loss": dice.discriminator_loss(expert, union),
                "discriminator/held_out_log_ratio": expert.mean(),
                "discriminator/union_log_ratio": union.mean(),
            },
            batch_size=len(expert),
            sync_dist=True,
        )
        self.log("discriminator/held_out_auroc", self.auroc)

    def predict_step(self, batch: Step, batch_idx: int) -> dict[str, Tensor]:
        return {"log_ratio": self(batch)}
