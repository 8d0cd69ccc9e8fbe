"""Stage 3, decentralised policies by weighted behaviour cloning (paper 5.4)."""

from __future__ import annotations

import math
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Literal

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from misodice.datamodules.batches import PolicyBatch, Spec
from misodice.errors import MisodiceError
from misodice.modules import dice
from misodice.modules.networks import AgentMLP, CategoricalHead, GaussianHead
from misodice.modules.stage import Stage

if TYPE_CHECKING:
    from misodice.datamodules.loader import Batches
    from misodice.datamodules.table import Transitions


class Policy(Stage):
    r"""Local policies π_i with shared weights.

    .. math:: \max_{\pi_i} E_U[w(s, a) \log \pi_i(a_i | o_i)] \quad (11)

    Transitions of greater w are drawn more often and weighed less: the same expectation with less variance.

    Args:
        weight: column that weighs the transitions: the value stage's "weight", O-MAPL's own "local_weight", or "bc",
            which is β·1[D_E]/|D_E| + (1 − β)/|D_U| and needs no other stage.
        by_episode: weigh all steps of an episode alike, by the square of their weights' geometric mean. The paper's
            policy weighs each by its own.
        top_p: share of all weight that is then kept, that of the greatest weights; 1 is the paper's policy, which keeps
            all.
        beta: β of "bc": 0 clones all of D_U, 1 clones D_E alone.
        distribution: of continuous actions: "normal" (paper B.4) or "tanh_normal". Discrete actions are categorical.
        min_std: least standard deviation of a continuous action. A deviation of its own for each state weighs an easy
            state by the inverse square of it: with a low bound thousands of times a hard one.
        hidden: widths of the network.
        lr: Adam's learning rate (Table 3: 3e-4 for SMAC, 1e-5 for MaMuJoCo).
        lr_schedule: "constant" (Table 3), or "cosine": down to 0 at the stage's end along half a cosine, so that what
            is kept is not the last step of a noisy walk.
        epochs: times as many draws as D_U has transitions.
    """

    name = "policy"

    def __init__(
        self,
        weight: Literal["weight", "local_weight", "bc"] = "weight",
        by_episode: bool = False,
        top_p: float = 1.0,
        beta: float = 0.0,
        distribution: Literal["normal", "tanh_normal"] = "normal",
        min_std: float = 0.0067,
        hidden: tuple[int, ...] = (256, 256),
        lr: float = 3e-4,
        lr_schedule: Literal["constant", "cosine"] = "constant",
        epochs: int = 20,
    ) -> None:
        super().__init__(lr, epochs)
        if min_std <= 0:
            raise MisodiceError(f"policy.min_std is {min_std}, expected more than 0")
        if not 0 < top_p <= 1:
            raise MisodiceError(f"policy.top_p is {top_p}, expected more than 0 and at most 1, which keeps all weights")
        self.save_hyperparameters()
        self.lr_schedule = lr_schedule
        self.weight, self.by_episode, self.top_p, self.beta = weight, by_episode, top_p, beta
        self.distribution, self.min_std = distribution, min_std
        self.hidden = tuple(hidden)

    @classmethod
    def load(cls, path: Path) -> Policy:
        """The policy of a checkpoint, on the CPU, for acting.

        Raises:
            MisodiceError: there is no such file, or it is not a policy's checkpoint.
        """
        if not path.is_file():
            raise MisodiceError(
                f"ckpt_path: {path} does not exist; train with `misodice fit`, or name a policy's checkpoint"
            )
        try:
            policy = cls.load_from_checkpoint(path, map_location="cpu", weights_only=True)
        except (OSError, EOFError, UnpicklingError, RuntimeError, LookupError, TypeError, AttributeError) as error:
            # What torch says of a file that is none of its own, and what comes of another stage's content.
            said = " ".join(str(error).split())[:200]
            raise MisodiceError(
                f"ckpt_path: {path} is not a policy's checkpoint of this version ({type(error).__name__}: {said}); "
                "expected such as runs/<config>/<method>/seed_0/policy/last.ckpt"
            ) from error
        return policy.eval()

    @property
    def reads(self) -> tuple[str, ...]:
        return () if self.weight == "bc" else (self.weight,)

    @property
    def needs_experts(self) -> bool:
        return self.weight == "bc" and self.beta > 0

    def train_batches(self, data: Transitions) -> Batches[PolicyBatch]:
        weight = self._weights(data)
        if self.by_episode:
            weight = dice.weigh_by_episode(weight, torch.from_numpy(data.episodes.length).to(weight.device))
        return data.policy_batches(weight if self.top_p == 1 else dice.top_p_weights(weight, self.top_p))

    def _weights(self, data: Transitions) -> Tensor:
        """Of every transition of D_U, mean 1, [T] or [T, n]."""
        if self.needs_experts:
            return dice.bc_weights(data.transition_expert, self.beta)
        if self.weight == "bc":
            return torch.ones(data.episodes.n_transitions, device=data.device)
        return data.columns[self.weight]

    def build(self, spec: Spec) -> None:
        self.head = (
            CategoricalHead(spec.n_actions)
            if spec.discrete
            else GaussianHead(spec.n_actions, self.distribution, self.min_std)
        )
        self.local = AgentMLP(spec.n_agents, spec.obs_dim, self.head.outputs, self.hidden)

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
            return (1 + math.cos(math.pi * step / self.trainer.estimated_stepping_batches)) / 2 if step else 1.0

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
        """Greedy joint actions for obs [B, n, O], as the environment takes them: int64 [B, n] or float [B, n, A]."""
        actions = self.head.greedy(self(obs.to(self.device)), available_actions).cpu()
        assert self.spec is not None
        return actions if self.spec.discrete else actions * self.spec.action_scale
