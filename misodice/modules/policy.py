"""Stage 3, decentralised policies by weighted behaviour cloning (paper 5.4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from misodice.datamodules.batches import PolicyBatch, Spec
from misodice.datamodules.inputs import Inputs
from misodice.datamodules.weighted import Weighted
from misodice.errors import MisodiceError
from misodice.modules import dice
from misodice.modules.heads import ActionHead, CategoricalHead, GaussianHead
from misodice.modules.networks import AgentMLP, Network
from misodice.modules.stage import Stage
from misodice.modules.weighting import Weighting
from misodice.runs.limits import TEXT, limited
from misodice.runs.parts import factory_of


class Policy(Stage):
    r"""Local policies π_i with shared weights.

    .. math:: \max_{\pi_i} E_U[w(s, a) \log \pi_i(a_i | o_i)] \quad (11)

    Transitions of greater w are drawn more often and weighed less: the same expectation with less variance.

    Args:
        weight: column that weighs the transitions: the value stage's "weight", or O-MAPL's own "local_weight".
        weighting: what is done to the weights in order, such as `ByEpisode` and `TopP`; none is the paper's policy.
        head: class of the action head, made with the number of actions; null is `CategoricalHead` for discrete
            actions and `GaussianHead` for continuous ones.
        network: class of the agents' network, made with (n_agents, inputs, outputs).
        lr: Adam's learning rate (Table 3: 3e-4 for SMAC, 1e-5 for MaMuJoCo).
        lr_schedule: "constant" (Table 3), or "cosine": down to 0 at the stage's end along half a cosine, so that what
            is kept is not the last step of a noisy walk.
        epochs: times as many draws as D_U has transitions.
    """

    name = "policy"

    @limited(weight=TEXT)
    def __init__(
        self,
        weight: str = "weight",
        weighting: Sequence[Weighting] = (),
        head: Callable[[int], ActionHead] | None = None,
        network: Callable[[int, int, int], Network] = AgentMLP,
        lr: float = 3e-4,
        lr_schedule: Literal["constant", "cosine"] = "constant",
        epochs: int = 20,
    ) -> None:
        super().__init__(lr, epochs)
        listed = tuple(weighting) if isinstance(weighting, Sequence) else (weighting,)
        wrong = [each for each in listed if not isinstance(each, Weighting)]
        if wrong or not isinstance(weighting, Sequence):
            raise MisodiceError(f"policy.weighting: found {weighting!r}, expected a list of Weighting objects")
        self.weight, self.weighting, self.lr_schedule = weight, listed, lr_schedule
        self.head_class = None if head is None else factory_of(head, ActionHead, "policy.head")
        self.network_class = factory_of(network, Network, "policy.network")

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.weight,)

    @property
    def needs_experts(self) -> bool:
        return any(weighting.needs_experts for weighting in self.weighting)

    def datamodule(self, inputs: Inputs) -> Weighted:
        table, weight = inputs.table, inputs.columns[self.weight]
        expert = None
        if self.needs_experts:
            expert = torch.from_numpy(inputs.known_experts.expert).to(table.device).repeat_interleave(table.length)
        for weighting in self.weighting:
            weight = _weighed(weighting, weight, table.length, expert)
        return Weighted(table, weight, inputs.batch_size, inputs.seed)

    def build(self, spec: Spec) -> None:
        make = self.head_class or (CategoricalHead if spec.discrete else GaussianHead)
        self.head = make(spec.n_actions)
        self.local = self.network_class(spec.n_agents, spec.obs_dim, self.head.outputs)

    @property
    def any_length(self) -> bool:
        # The end of a falling rate is of one length: with more epochs it would leap up again.
        return self.lr_schedule == "constant"

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = super().configure_optimizers()
        if self.lr_schedule == "constant":
            return optimizer
        assert isinstance(optimizer, torch.optim.Optimizer)

        def share(step: int) -> float:
            # Not asked for before the first step: that would set up the batches before a checkpoint is read, and a
            # resumed epoch would begin anew.
            return (1 + math.cos(math.pi * step / self.steps_in_all)) / 2 if step else 1.0

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def forward(self, obs: Tensor) -> Tensor:
        """The head's parameters, [B, n, ·], for obs [B, n, O]."""
        output: Tensor = self.local(self.standardise_obs(obs))
        return output

    def loss(self, batch: PolicyBatch) -> tuple[Tensor, dict[str, Tensor]]:
        log_prob = self.head.log_prob(self(batch.obs), batch.actions, batch.available_actions)
        loss = dice.weighted_bc_loss(log_prob, batch.weight)
        return loss, {"loss": loss}

    @torch.inference_mode()
    def act(self, obs: Tensor, available_actions: Tensor | None) -> Tensor:
        """Greedy joint actions for obs [B, n, O], as the environment takes them: int64 [B, n] or float [B, n, A].

        Raises:
            MisodiceError: obs or available_actions is no tensor, or is not of this policy's sizes.
        """
        self._check(obs, available_actions)
        assert self.spec is not None
        actions = self.head.greedy(self(obs.to(self.device)), available_actions).cpu()
        return actions if self.spec.discrete else actions * self.spec.action_scale

    def _check(self, obs: Tensor, available_actions: Tensor | None) -> None:
        if self.spec is None:
            raise MisodiceError("Policy.act: this policy has no networks yet; train it, or load one by Policy.load")
        n, width = self.spec.n_agents, self.spec.obs_dim
        if not isinstance(obs, Tensor) or not obs.is_floating_point() or obs.ndim != 3 or obs.shape[1:] != (n, width):
            raise MisodiceError(
                f"Policy.act: obs is {_told(obs)}, expected a float32 tensor [B, {n}, {width}]; torch.from_numpy "
                "makes a tensor of an array"
            )
        expected = (len(obs), n, self.spec.n_actions)
        mask = available_actions
        if mask is not None and (not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != expected):
            raise MisodiceError(
                f"Policy.act: available_actions is {_told(mask)}, expected a bool tensor {list(expected)}, or None"
            )


def _weighed(weighting: Weighting, weight: Tensor, length: Tensor, expert: Tensor | None) -> Tensor:
    """What a weighting returned, if a policy can learn from it."""
    found = weighting(weight, length, expert)
    name = f"policy.weighting: {type(weighting).__name__}"
    if not isinstance(found, Tensor) or found.ndim not in (1, 2) or len(found) != len(weight):
        raise MisodiceError(f"{name} returned {_told(found)}, expected new weights of all {len(weight)} transitions")
    if not torch.isfinite(found).all() or (found < 0).any() or not (found > 0).any():
        raise MisodiceError(f"{name} returned weights that are negative, NaN, infinite, or all 0; expected mean 1")
    return found


def _told(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{type(value).__name__} {list(shape)}"
