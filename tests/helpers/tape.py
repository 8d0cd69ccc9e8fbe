"""What a CUDA graph does, on a CPU: a step's operations are recorded once, and done again on the same memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Direct:
    """A `Recorder` that records nothing and calls the step each time."""

    ready = False

    def __call__(self, step: Callable[[], None]) -> None:
        step()


class Tape(TorchDispatchMode):
    """A `Recorder` that calls the step at first, then records one, then makes no Python of it run any more.

    Args:
        strict: refuse what reads a number from a tensor, which waits for a GPU.
    """

    def __init__(self, strict: bool = False, warm_up: int = 2) -> None:
        super().__init__()
        self.strict, self.warm_up = strict, warm_up
        self.ready = False
        self.replays = 0
        self._calls: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def __call__(self, step: Callable[[], None]) -> None:
        if self.warm_up:
            self.warm_up -= 1
            step()
        elif not self.ready:
            with self:
                step()
            self.ready = True
        else:
            self._replay()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            if self.strict:
                raise RuntimeError("called a synchronizing CUDA operation")
            return func(*args, **kwargs)
        found = func(*args, **kwargs)
        aliases = [each.alias_info for each in func._schema.returns if each.alias_info is not None]
        writes = any(each.alias_info and each.alias_info.is_write for each in func._schema.arguments)
        if writes:
            self._calls.append((func, args, kwargs, []))
        elif not aliases:  # a view is where its tensor is
            self._calls.append((func, args, kwargs, [each for each in tree_leaves(found) if isinstance(each, Tensor)]))
        return found

    @torch.no_grad()
    def _replay(self) -> None:
        self.replays += 1
        with torch.autocast("cpu", enabled=False):  # what it casts is recorded
            for func, args, kwargs, places in self._calls:
                found = [each for each in tree_leaves(func(*args, **kwargs)) if isinstance(each, Tensor)]
                for place, value in zip(places, found, strict=False):
                    place.copy_(value)
