"""Stage 2, the value ν_tot with its mixer, and the weights w (paper 5.1, 5.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from misodice.datamodules.batches import Spec, ValueBatch
from misodice.datamodules.inputs import Inputs
from misodice.datamodules.successors import Successors
from misodice.errors import MisodiceError
from misodice.modules import dice
from misodice.modules.mixers import HyperMixer, Mixer
from misodice.modules.networks import AgentMLP, Network
from misodice.modules.stage import Stage
from misodice.runs.limits import AT_LEAST_1, FACTOR, SHARE, SIZE, TEXT, TRUTH, limited
from misodice.runs.parts import factory_of


class Value(Stage):
    r"""Minimises the dual of the occupancy program.

    .. math:: L(\phi, \nu) = (1-\gamma) E_{s_0}[\nu_{tot}(s_0)] + (1+\alpha) E_U[w],\quad
        w = \exp(A/(1+\alpha) - 1) \quad (6, 8)

    The predict pass gives log w of every transition; weights are normalised over the whole of D_U afterwards.

    Args:
        mixer: class of the mixer, made with (n_agents, state_dim).
        network: class of the agents' network, made with (n_agents, inputs, outputs).
        alpha: α, the pull towards D_U (Eq. 2).
        gamma: γ, the discount.
        objective: "exp" (Eq. 6), or DemoDICE's "logsumexp".
        ratio: column that stands for log ρ_E/ρ_U: the discriminator's "log_ratio", or the recovered "reward" (MARL-SL).
        mask_last: leave out ν(s′) of every episode's last transition. False makes final states absorbing instead:
            without either ν would run away on them.
        max_weight: clip of the normalised weights.
        window: consecutive transitions L that are drawn together: their L + 1 rows are evaluated once. With 1 each
            transition is drawn alone, and the stage takes nearly twice the time.
        lr: Adam's learning rate (Table 3, critic).
        epochs: passes over D_U.

    Raises:
        MisodiceError: alpha is not from 0 to 1000000, gamma no share, or max_weight less than 1; or, with mask_last,
            gamma is 1 or the objective logsumexp, which is unbounded below.
    """

    name = "value"
    writes = ("weight",)

    @limited(alpha=FACTOR, gamma=SHARE, ratio=TEXT, mask_last=TRUTH, max_weight=AT_LEAST_1, window=SIZE)
    def __init__(
        self,
        mixer: Callable[[int, int], Mixer] = HyperMixer,
        network: Callable[[int, int, int], Network] = AgentMLP,
        alpha: float = 0.05,
        gamma: float = 0.99,
        objective: Literal["exp", "logsumexp"] = "exp",
        ratio: str = "log_ratio",
        mask_last: bool = True,
        max_weight: float = 100.0,
        window: int = 8,
        lr: float = 3e-4,
        epochs: int = 20,
    ) -> None:
        super().__init__(lr, epochs)
        if objective == "logsumexp" and mask_last:
            raise MisodiceError(
                "value: objective logsumexp with mask_last true is unbounded below (mass leaks at episode ends); use "
                "objective exp, or logsumexp with mask_last false and absorbing last rows"
            )
        if mask_last and gamma == 1:
            raise MisodiceError(
                "value.gamma: found 1, expected less than 1: with mask_last true nothing would hold the value of the "
                "first states, and it would grow without end"
            )
        self.mixer_class = factory_of(mixer, Mixer, "value.mixer")
        self.network_class = factory_of(network, Network, "value.network")
        self.alpha = alpha
        self.gamma = gamma
        self.objective = dice.value_loss_exp if objective == "exp" else dice.value_loss_logsumexp
        self.ratio = ratio
        self.mask_last = mask_last
        self.max_weight = max_weight
        self.window = window

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.ratio,)

    def datamodule(self, inputs: Inputs) -> Successors:
        ratio = inputs.columns[self.ratio]
        return Successors(inputs.table, ratio, not self.mask_last, inputs.batch_size, inputs.seed, self.window)

    def build(self, spec: Spec) -> None:
        self.local = self.network_class(spec.n_agents, spec.obs_dim, 1)
        self.mixer = self.mixer_class(spec.n_agents, spec.state_dim)

    def forward(self, obs: Tensor, state: Tensor) -> Tensor:
        """ν_tot(s) = M_φ[ν_i(o_i)], [B] ([B, n] with IndependentMixer)."""
        return self.mix(self.mixer, self.local(self.standardise_obs(obs)).squeeze(-1), state)

    def advantage(self, batch: ValueBatch, *also: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        """A of Eq. 7, [B] or [B, n], and ν of further (obs, state) pairs, the network evaluated once on all of them."""
        windows = batch.obs.shape[:2]
        pairs = ((batch.obs.flatten(0, 1), batch.state.flatten(0, 1)), *also)
        nu = self(torch.cat([obs for obs, _ in pairs]), torch.cat([state for _, state in pairs]))
        nu, *others = nu.split([len(obs) for obs, _ in pairs])
        nu = nu.unflatten(0, windows)
        nu, next_nu = nu[:, :-1], nu[:, 1:]
        if batch.absorbing is not None:
            next_nu = torch.where(dice.like(batch.absorbing, nu), nu, next_nu)
        last = dice.like(batch.last if self.mask_last else torch.zeros_like(batch.last), nu)
        log_ratio = batch.log_ratio
        if log_ratio.ndim > nu.ndim:
            log_ratio = log_ratio.sum(dim=-1)
        elif log_ratio.ndim < nu.ndim:
            log_ratio = log_ratio.unsqueeze(-1)
        return dice.advantage(log_ratio, nu, next_nu, last, self.gamma).flatten(0, 1), *others

    def loss(self, batch: ValueBatch) -> tuple[Tensor, dict[str, Tensor]]:
        advantage, initial_nu = self.advantage(batch, (batch.initial_obs, batch.initial_state))
        loss = self.objective(initial_nu, advantage, self.alpha, self.gamma)
        return loss, {"loss": loss, "initial_nu": initial_nu.mean(), "advantage": advantage.mean()}

    def predict_step(self, batch: ValueBatch, batch_idx: int) -> dict[str, Tensor]:
        """log w of Eq. 8, not yet normalised."""
        (advantage,) = self.advantage(batch)
        return {"weight": dice.log_weight(advantage, self.alpha)}

    def finish(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        """Normalised weights from log w of the whole of D_U."""
        return {"weight": dice.normalise_weights(columns["weight"].double(), self.max_weight).float()}

    def column_metrics(self, columns: dict[str, Tensor]) -> dict[str, float]:
        return dice.weight_metrics(columns["weight"])
