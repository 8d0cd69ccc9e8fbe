"""Stage: the small base class of all LightningModules that are trained one after another."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, ClassVar, NoReturn, Self

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from misodice import __version__
from misodice.datamodules.base import StageData
from misodice.datamodules.batches import Spec
from misodice.datamodules.inputs import Inputs
from misodice.datamodules.loader import Batches
from misodice.errors import MisodiceError
from misodice.modules.captured import add_up
from misodice.modules.counters import count_batches, count_minibatches
from misodice.modules.networks import Standardise
from misodice.modules.steps import Steps
from misodice.runs.limits import COUNT, POSITIVE, limited
from misodice.runs.parts import Part, build, config_of


class Stage(Part, LightningModule):
    """Fit it, then one predict pass over D_U writes its columns.

    A subclass sets `name` (the slot of the config that it is made for) and `writes`, makes its networks in `build`,
    returns a complete datamodule, and has a `loss`; a stage that writes has a `predict_step`. Lightning calls `build`
    when the sizes of the data are known: from the datamodule, or from a checkpoint alone.

    Args:
        lr: Adam's learning rate.
        epochs: passes over the data.
    """

    name: ClassVar[str]
    writes: ClassVar[tuple[str, ...]] = ()
    """Columns that the predict pass adds: `predict_step` gives {column: [B] or [B, n]}."""
    monitor: ClassVar[str | None] = None
    """Metric whose least value names the epoch to keep; None keeps the last."""
    trained: ClassVar[bool] = True
    """Whether anything is learnt; otherwise the predict pass is all that is done."""
    patience: int | None = None
    """Epochs without a better `monitor` after which training stops."""

    __repr__ = LightningModule.__repr__  # its layers

    @limited(lr=POSITIVE, epochs=COUNT)
    def __init__(self, lr: float = 3e-4, epochs: int = 20) -> None:
        super().__init__()
        self.lr = lr
        self.epochs = epochs
        self.spec: Spec | None = None
        self._rng_state: dict[str, Tensor] | None = None
        # Of the epoch so far; in checkpoints, since one may be of the middle of an epoch.
        self._logged, self.sums = 0, dict[str, Tensor]()
        self._steps: Steps | None = None

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that must be there before it is trained."""
        return ()

    @property
    def needs_experts(self) -> bool:
        """Whether it must know D_E."""
        return False

    @property
    def needs_pairs(self) -> bool:
        """Whether it learns from labelled pairs of episodes."""
        return False

    @property
    def any_length(self) -> bool:
        """Whether a checkpoint can go on to more epochs: each step is the same, however many follow."""
        return True

    def build(self, spec: Spec) -> None:
        """Make the networks for data of this shape."""

    def datamodule(self, inputs: Inputs) -> StageData:
        """What the stage learns from, complete."""
        raise MisodiceError(f"{type(self).__name__} has no datamodule(inputs)")

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, and what to log of it; it changes nothing, so that it can be compiled as a whole."""
        raise MisodiceError(f"{type(self).__name__} has no loss(batch)")

    def after_step(self) -> None:
        """What follows each step of the optimizer, such as slow copies of networks; it waits for no GPU."""

    def finish(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        """Last touch on the whole columns [T] or [T, n], such as a normalisation."""
        return columns

    def column_metrics(self, columns: dict[str, Tensor]) -> dict[str, float]:
        """What to log about the finished columns."""
        return {}

    @classmethod
    def load(cls, path: str | Path, like: Self | None = None) -> Self:
        """The trained stage of a checkpoint, on the CPU.

        Args:
            path: such as runs/smacv2_zerg/misodice/seed_0/policy/last.ckpt.
            like: a stage that is copied if it has the class and options that the checkpoint names. Otherwise Python
                must find that class by its name.

        Raises:
            MisodiceError: there is no such file, or it is not a checkpoint of this class and version.
        """
        path = Path(path)
        if not path.is_file():
            raise MisodiceError(
                f"ckpt_path: {path} does not exist; train with `misodice fit`, or name a stage's checkpoint"
            )
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
            described = checkpoint["part"]
            same = like is not None and config_of(like) == described
            stage = copy.deepcopy(like) if same else build(cls, described, f"ckpt_path: {path}")
            assert stage is not None
            stage.on_load_checkpoint(checkpoint)
            stage.load_state_dict(checkpoint["state_dict"])
        except (OSError, EOFError, UnpicklingError, RuntimeError, LookupError, TypeError, AttributeError) as error:
            # What torch says of a file that is none of its own, and what comes of another version's content.
            said = " ".join(str(error).split())[:200]
            # torch advises to load a foreign file in an unsafe way, and a number as a key says nothing.
            useless = isinstance(error, UnpicklingError) or (isinstance(error, KeyError) and error.args[0] != "part")
            why = "" if useless else f" ({type(error).__name__}: {said})"
            raise MisodiceError(
                f"ckpt_path: {path} is not a {cls.__name__}'s checkpoint of this version{why}; expected a "
                "file such as runs/<config>/<method>/seed_0/policy/last.ckpt"
            ) from error
        return stage.eval()

    def configure_model(self) -> None:
        # Not in `setup`: Lightning's averaging callbacks copy the module before that. Without a trainer it is being
        # loaded from a checkpoint, which brings its own spec.
        if self.spec is None and self._trainer is not None:
            self._build(self.trainer.datamodule.spec)  # type: ignore[attr-defined]

    def _build(self, spec: Spec) -> None:
        self.spec = spec
        self.standardise_obs = Standardise(spec.obs_mean, spec.obs_std)
        self.standardise_state = Standardise(spec.state_mean, spec.state_std)
        self.build(spec)

    def mix(self, mixer: nn.Module, values: Tensor, state: Tensor) -> Tensor:
        """M[values] of local values [B, n] in raw state [B, S], [B]: in full precision under autocast too."""
        with torch.autocast(values.device.type, enabled=False):
            mixed: Tensor = mixer(values, self.standardise_state(state))
        return mixed

    @property
    def automatic_optimization(self) -> bool:
        """Whether Lightning makes the steps; where a batch has several minibatches, the stage makes them itself."""
        data = getattr(self._trainer, "datamodule", None)
        return self._automatic_optimization and getattr(data, "minibatches", 1) == 1

    @automatic_optimization.setter
    def automatic_optimization(self, value: bool) -> None:
        self._automatic_optimization = value

    @property
    def eager(self) -> str | None:
        """Why the steps of a batch's minibatches are not replayed on a GPU; None where they are, or it has just one."""
        return None if self._steps is None else self._steps.eager

    @property
    def steps_in_all(self) -> float:
        """The optimizer's steps in the whole of the training; it sets the batches up."""
        batches: float = self.trainer.estimated_stepping_batches
        loader = self.trainer.train_dataloader
        if self.automatic_optimization or not isinstance(loader, Batches):
            return batches
        assert self.trainer.max_epochs is not None
        return loader.steps * self.trainer.max_epochs

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        assert self.spec is not None
        if self._steps is not None:
            self._steps.check()
            loader = self.trainer.train_dataloader
            if isinstance(loader, Batches):
                scheduled = bool(self.trainer.lr_scheduler_configs)
                count_minibatches(checkpoint["loops"]["fit_loop"], loader.done, scheduled)
        checkpoint["spec"] = asdict(self.spec)
        checkpoint["part"] = config_of(self)
        checkpoint["misodice_version"] = __version__
        checkpoint["logged"], checkpoint["sums"] = self._logged, self.sums
        checkpoint["rng_state"] = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            checkpoint["rng_state"]["cuda"] = torch.cuda.get_rng_state(self.device)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._rng_state = checkpoint.get("rng_state")
        self._logged, self.sums = checkpoint.get("logged", 0), checkpoint.get("sums", {})
        if self._trainer is not None and not self.automatic_optimization and "loops" in checkpoint:
            loader = self.trainer.datamodule.train_dataloader()  # type: ignore[attr-defined]
            if isinstance(loader, Batches):
                count_batches(checkpoint["loops"]["fit_loop"], loader.steps, loader.minibatches)
        if self.spec is None:
            self._build(Spec(**checkpoint["spec"]))

    def on_train_start(self) -> None:
        self.sums = {what: total.to(self.device) for what, total in self.sums.items()}
        self._steps = None if self.automatic_optimization else Steps(self)
        # For what draws by itself, such as dropout in a mixer; the batches have generators of their own.
        if self._rng_state is not None:
            torch.set_rng_state(self._rng_state["cpu"])
            if "cuda" in self._rng_state:
                torch.cuda.set_rng_state(self._rng_state["cuda"], self.device)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        # Fused: a step in a quarter of the time, and no more of small kernels on a GPU.
        return torch.optim.Adam(self.parameters(), lr=self.lr, fused=True)

    def on_train_end(self) -> None:
        self._steps = None  # and the memory of what was recorded

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        if self._steps is None:
            return self.learn(batch)
        self._steps.run(batch)
        return None

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._steps is None:
            self.after_step()

    def learn(self, batch: Any) -> Tensor:
        """The loss of a batch; what is to be logged of it is added to the sums."""
        loss, logged = self.checked_loss(batch)
        # Means over the epoch are logged at its end: `log` at every step costs a millisecond.
        self.count(len(batch))
        add_up(self.sums, logged, len(batch))
        return loss

    def count(self, items: int) -> None:
        """So many items were learnt from."""
        self._logged += items

    def checked_loss(self, batch: Any) -> tuple[Tensor, Mapping[str, Tensor]]:
        """What `loss` returns, if it is what it should be."""
        returned: Any = self.loss(batch)
        loss, logged = returned if isinstance(returned, tuple) and len(returned) == 2 else (None, None)
        if (
            isinstance(loss, Tensor)
            and loss.numel() == 1
            and loss.requires_grad == torch.is_grad_enabled()
            and isinstance(logged, Mapping)
            and all(isinstance(value, Tensor) and value.numel() == 1 for value in logged.values())
        ):
            return loss, logged
        raise MisodiceError(
            f"{self.name}: {type(self).__name__}.loss returned {_told(returned)}, expected (loss, logged): a tensor of "
            "one number that the parameters have a gradient of, and a dictionary of tensors of one number each"
        )

    def predict_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """The columns that the stage writes, {name: [B] or [B, n]}."""
        raise MisodiceError(f"{type(self).__name__} has no predict_step(batch, batch_idx), and writes {self.writes}")

    def on_train_epoch_start(self) -> None:
        self._logged = 0
        if self._steps is None:
            self.sums = {}
        for total in self.sums.values():  # in place: a recorded step adds to them
            total.zero_()

    @property
    def means(self) -> dict[str, Tensor]:
        """Means of what `loss` logs over the epoch so far, on the stage's device."""
        return {what: total / self._logged for what, total in self.sums.items()}

    def on_train_epoch_end(self) -> None:
        self.log_dict({f"{self.name}/{what}": mean for what, mean in self.means.items()}, sync_dist=True)

    def on_after_backward(self) -> None:
        # Before the optimiser's step: weights that a NaN has not reached are what the last checkpoint must hold.
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        # The greatest entry: it alone is not squared, and on a GPU it is a few kernels for all tensors together.
        if not torch.isfinite(torch.nn.utils.get_total_norm(gradients, math.inf)):
            self.refuse_gradient(self.global_step)

    def refuse_gradient(self, step: int) -> NoReturn:
        """Raise a MisodiceError: the gradient of this step has an entry that is NaN or infinite."""
        raise MisodiceError(
            f"stage {self.name}: the loss turned NaN or infinite at step {step}; the last good checkpoint is kept; "
            f"lower --{self.name}.lr, take options that are nearer to their defaults, or look for outliers with "
            "`misodice info`"
        )


def _told(value: Any) -> str:
    """A value as a message names it: tensors by their shapes, and nothing at length."""
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)}" + ("" if value.requires_grad else " without a gradient")
    if isinstance(value, tuple):
        return f"({', '.join(map(_told, value))})"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name!r}: {_told(each)}' for name, each in value.items())}}}"
    return f"{type(value).__name__} {value!r}"[:80]
