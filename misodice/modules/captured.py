"""One step of training with memory that stays in place, so that a GPU can replay it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

WARM_UP = 3
"""Steps that are trained before one is captured: libraries choose their kernels and take their memory there."""


class CannotCapture(Exception):  # noqa: N818 - the same step is made without capture, and nothing is at fault
    """Why a step cannot be captured; everything is as it was before the step."""


class Recorder(Protocol):
    """Makes a step, now or as a replay of what it recorded."""

    ready: bool
    """Whether something is recorded, so that nothing can go wrong any more."""

    def __call__(self, step: Callable[[], None]) -> None:
        """Make the step. It is the same one each time."""


class CudaGraph:
    """Makes the first steps on a stream aside, then captures one and replays it.

    The last of the first steps must not wait for the GPU: what does so cannot be captured, and here it does no harm.

    Args:
        device: a CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.ready = False
        self._graph = torch.cuda.CUDAGraph()
        self._made = 0

    def __call__(self, step: Callable[[], None]) -> None:
        if not self.ready and self._made < WARM_UP:
            self._made += 1
            self._aside(step, may_wait=self._made < WARM_UP)
            return
        if not self.ready:
            # This runs nothing on the GPU. A thread of another library may use the GPU meanwhile.
            with torch.cuda.graph(self._graph, stream=self.stream, capture_error_mode="thread_local"):
                step()
            self.ready = True
        self._graph.replay()

    def _aside(self, step: Callable[[], None], may_wait: bool) -> None:
        current, mode = torch.cuda.current_stream(self.device), torch.cuda.get_sync_debug_mode()
        self.stream.wait_stream(current)
        try:
            if not may_wait:
                torch.cuda.set_sync_debug_mode("error")
            with torch.cuda.stream(self.stream):
                step()
        finally:
            torch.cuda.set_sync_debug_mode(mode)
            current.wait_stream(self.stream)


def add_up(sums: dict[str, Tensor], logged: Mapping[str, Tensor], size: int) -> None:
    """Add what is logged of a minibatch of this size to the sums over the epoch, in place."""
    for what, value in logged.items():
        value = value.detach()
        if what not in sums:
            sums[what] = torch.zeros_like(value)
        sums[what].add_(size * value)


class CapturedStep:
    """Gather, forward, backward, the optimizer's step and sums of what is logged, with all tensors in place.

    A gradient that is not finite sets `bad`, which is 1 from then on. It gates the update, as a gradient scaler's flag
    does: weights and Adam's moments and counts stay as they were. Nothing here waits for the GPU but `check`.

    Args:
        module: whose parameters and buffers a step changes.
        gather: makes a minibatch of index tensors.
        loss: of a minibatch, and what is logged of it: tensors of one number each.
        after_step: what follows the update.
        optimizer: a fused Adam of all parameters that learn. Its learning rate stays a number, which is copied to the
            device where it changes: so checkpoints and schedules know of nothing.
        sums: of what is logged, each number times the size of its minibatch; they are added to in place.
        recorder: makes the steps.
        draw: index tensors of the first minibatch: the others must have their shapes.
    """

    def __init__(
        self,
        module: nn.Module,
        gather: Callable[..., Any],
        loss: Callable[[Any], tuple[Tensor, Mapping[str, Tensor]]],
        after_step: Callable[[], None],
        optimizer: torch.optim.Optimizer,
        sums: dict[str, Tensor],
        recorder: Recorder,
        draw: tuple[Tensor, ...],
    ) -> None:
        self.module, self.gather, self.loss, self.after_step = module, gather, loss, after_step
        self.optimizer, self.sums, self.recorder = optimizer, sums, recorder
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.buffers = tuple(each.clone() for each in draw)
        device = self.parameters[0].device
        # The types that the fused kernel reads; a CPU's reads a rate in double precision, as it does a number.
        self.bad = torch.zeros((), device=device, dtype=torch.float32)
        self.good = torch.zeros((), device=device, dtype=torch.float64)
        kind = torch.float32 if device.type == "cuda" else torch.float64
        self.rates = [torch.zeros((), device=device, dtype=kind) for _ in optimizer.param_groups]
        self.size = 0
        """Items of a minibatch; known after the first step."""
        self._filled = [math.nan for _ in self.rates]
        self._made = 0
        self._notes: list[tuple[int, Tensor, torch.cuda.Event | None]] = []
        self._placed: list[int] = []

    def fits(self, draw: tuple[Tensor, ...]) -> bool:
        """Whether this step can be made on a minibatch of these index tensors."""
        return [each.shape for each in draw] == [each.shape for each in self.buffers]

    @property
    def in_place(self) -> bool:
        """Whether all that was recorded is where it was then: who loads a state may bring other tensors."""
        return not self.recorder.ready or self._placed == self._places()

    def _places(self) -> list[int]:
        # Not by [p]: that would make an entry for a parameter that does not learn.
        state = [each for p in self.parameters for each in self.optimizer.state.get(p, {}).values()]
        module = (*self.module.parameters(), *self.module.buffers())
        return [each.data_ptr() for each in (*module, *state, *self.sums.values())]

    def run(self, draw: tuple[Tensor, ...]) -> None:
        """One step on the minibatch of these index tensors.

        Raises:
            CannotCapture: nothing of this step was done.
        """
        for buffer, each in zip(self.buffers, draw, strict=True):
            buffer.copy_(each)
        for index, group in enumerate(self.optimizer.param_groups):
            rate = float(group["lr"])
            if rate != self._filled[index]:
                self.rates[index].fill_(rate)
                self._filled[index] = rate
        if self.recorder.ready:
            self.recorder(self._step)
        else:
            with self._restored_if_it_fails():
                self.recorder(self._step)
            self._placed = self._places() if self.recorder.ready else []
        self._made += 1

    def _step(self) -> None:
        batch = self.gather(*self.buffers)
        loss, logged = self.loss(batch)
        # What Lightning casts in the forward pass alone.
        with torch.autocast(loss.device.type, enabled=False):
            # To None: while a step is captured, the gradients get memory of the graph's own.
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            gradients = [p.grad for p in self.module.parameters() if p.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients, math.inf)
            self.bad.copy_(torch.maximum(self.bad, 1.0 - torch.isfinite(norm).float()))
            with self._gated():
                self.optimizer.step()
            self.after_step()
        self.size = len(batch)
        add_up(self.sums, logged, self.size)
        self.good.add_(1.0 - self.bad)

    @contextmanager
    def _gated(self) -> Iterator[None]:
        """The optimizer heeds `bad`, reads its rates from the device, and lets itself be captured."""
        groups: Any = self.optimizer.param_groups
        own = [{name: group[name] for name in ("lr", "capturable")} for group in groups]
        capturing = self.bad.is_cuda and torch.cuda.is_current_stream_capturing()
        optimizer: Any = self.optimizer
        optimizer.found_inf = self.bad
        for group, rate in zip(groups, self.rates, strict=True):
            group |= {"lr": rate, "capturable": capturing}
        try:
            yield
        finally:
            del optimizer.found_inf
            for group, before in zip(groups, own, strict=True):
                group |= before

    @contextmanager
    def _restored_if_it_fails(self) -> Iterator[None]:
        """A step that could not be made or captured leaves no trace."""
        tensors = [*self.module.parameters(), *self.module.buffers(), *self.sums.values(), self.bad, self.good]
        copies = [each.detach().clone() for each in tensors]
        named = set(self.sums)
        state = {p: {name: each.clone() for name, each in kept.items()} for p, kept in self.optimizer.state.items()}
        random = torch.get_rng_state(), torch.cuda.get_rng_state(self.bad.device) if self.bad.is_cuda else None
        try:
            yield
        except RuntimeError as error:
            with torch.no_grad():
                for each, copy in zip(tensors, copies, strict=True):
                    each.copy_(copy)
            for what in set(self.sums) - named:
                del self.sums[what]
            self.optimizer.zero_grad(set_to_none=True)
            self.optimizer.state.clear()
            self.optimizer.state.update(state)
            torch.set_rng_state(random[0])
            if random[1] is not None:
                torch.cuda.set_rng_state(random[1], self.bad.device)
            # The end of a capture fails too, and hides what made it fail.
            first = error.__context__ if isinstance(error.__context__, RuntimeError) else error
            raise CannotCapture(" ".join(str(first).split())[:150]) from error

    def note(self) -> None:
        """Have the number of good steps so far sent to the CPU; nothing waits for it."""
        if self.good.is_cuda:
            there = torch.empty((), dtype=self.good.dtype, pin_memory=True)
            there.copy_(self.good, non_blocking=True)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
            self._notes.append((self._made, there, event))
        else:
            self._notes.append((self._made, self.good.clone(), None))

    def lost(self, late: int = 0) -> int | None:
        """How many of the last steps were gated; None where all were good.

        Args:
            late: so many notes may still be on their way; their steps are not looked at.
        """
        while len(self._notes) > late:
            made, there, event = self._notes.pop(0)
            if event is not None:
                event.synchronize()
            if int(there) < made:
                return self._made - int(there)
        return None
