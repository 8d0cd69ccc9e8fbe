"""Serves D_E, D_U and initial states to the three stages, from tensors in memory: a batch is one indexing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor

from misodice.data.columns import read_column
from misodice.data.episodes import Episodes, rows_of_transitions
from misodice.data.labels import rank_episodes, top_k, write_labels
from misodice.datamodules.batch import DiscriminatorBatch, PolicyBatch, Spec, Step, ValueBatch
from misodice.modules.discriminator import Discriminator
from misodice.modules.value import Value

B = TypeVar("B")


class Batches(Generic[B]):
    """Batches of a seeded permutation, shared out among the processes of a distributed run.

    Args:
        items: what is permuted and cut, int64 [M].
        batch_size: items of one batch of one process.
        make: batch from items and the generator that any further draw must use.
        seed: of the permutation; `epoch()` is added, so that each epoch differs and a resumed one agrees.
        epoch: the current epoch.
        rank, world_size: this process among how many.
        shuffle: False keeps the order, gives each process one contiguous part, and pads by repeating the last item.
    """

    def __init__(
        self,
        items: Tensor,
        batch_size: int,
        make: Callable[[Tensor, torch.Generator], B],
        seed: int,
        epoch: Callable[[], int],
        rank: int,
        world_size: int,
        shuffle: bool = True,
    ) -> None:
        self.items, self.batch_size, self.make = items, batch_size, make
        self.seed, self.epoch, self.shuffle = seed, epoch, shuffle
        self.rank, self.world_size = rank, world_size
        self.share = -(-len(items) // world_size)

    def __len__(self) -> int:
        return -(-self.share // self.batch_size)

    def __iter__(self) -> Iterator[B]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch())
        items = self.items
        if self.shuffle:
            items = items[torch.randperm(len(items), generator=generator)]
        items = torch.cat([items, items[-1:].expand(self.share * self.world_size - len(items))])
        # Each process draws expert and initial rows of its own.
        generator.manual_seed(generator.initial_seed() * 31 + self.rank)
        for part in items[self.rank * self.share : (self.rank + 1) * self.share].split(self.batch_size):  # type: ignore[no-untyped-call]
            yield self.make(part, generator)


class Transitions(LightningDataModule):
    """An episodes file as D_U, and its K best episodes as D_E.

    Args:
        path: episodes file; null makes one under `data/` from the bundled behaviours.
        ranking: "return" (true return) or "oracle" (true source).
        k: number of episodes in D_E.
        batch_size: transitions a step and process (Table 3: 512).
        held_out: share of the episodes, of D_E and of the rest alike, that the discriminator never trains on.
    """

    def __init__(
        self,
        path: str | None = None,
        ranking: Literal["return", "oracle"] = "return",
        k: int = 200,
        batch_size: int = 512,
        held_out: float = 0.1,
    ) -> None:
        super().__init__()
        self.path, self.ranking, self.k = path, ranking, k
        self.batch_size, self.held_out = batch_size, held_out
        self.stage: Any = None
        self._episodes: Episodes | None = None

    def attach(self, path: Path, run_dir: Path, seed: int) -> None:
        """Say where the file and the run are; the CLI does."""
        self.file, self.run_dir, self.seed = path, run_dir, seed

    @property
    def episodes(self) -> Episodes:
        """The file, read once."""
        if self._episodes is None:
            self._episodes = Episodes.read(self.file)
            self._index()
        return self._episodes

    @property
    def expert(self) -> np.ndarray:
        """Which episodes are D_E, bool [E]."""
        score = rank_episodes(self.episodes, self.ranking, self.k, str(self.file))
        return top_k(score, self.k)

    def label(self, fingerprint: str) -> None:
        """Write labels.h5."""
        score = rank_episodes(self.episodes, self.ranking, self.k, str(self.file))
        write_labels(self.run_dir / "labels.h5", score, top_k(score, self.k), fingerprint)

    def _index(self) -> None:
        episodes = self._episodes
        assert episodes is not None
        self.rows = torch.from_numpy(rows_of_transitions(episodes.length))
        ends = np.cumsum(episodes.length) - 1
        self.last = torch.zeros(episodes.n_transitions)
        self.last[torch.from_numpy(ends)] = 1.0
        self.first_rows = self.rows[torch.from_numpy(np.concatenate([[0], ends[:-1] + 1]))]
        obs_mean, obs_std = _statistics(episodes.obs.reshape(-1, episodes.obs.shape[-1]))
        state_mean, state_std = _statistics(episodes.state)
        self.spec = Spec(
            n_agents=episodes.n_agents,
            obs_dim=episodes.obs.shape[2],
            state_dim=episodes.state.shape[1],
            n_actions=episodes.n_actions,
            discrete=episodes.discrete,
            obs_mean=obs_mean,
            obs_std=obs_std,
            state_mean=state_mean,
            state_std=state_std,
        )
        self.tensors = {"obs": episodes.obs, "state": episodes.state, "actions": episodes.actions}
        if episodes.available_actions is not None:
            self.tensors["available_actions"] = episodes.available_actions
        self.data = {name: torch.from_numpy(values) for name, values in self.tensors.items()}

    def setup(self, stage: str) -> None:
        episodes = self.episodes
        assert self.trainer is not None
        self.device = self._device(self.trainer.strategy.root_device)
        self.data = {name: tensor.to(self.device) for name, tensor in self.data.items()}
        self.rows, self.last = self.rows.to(self.device), self.last.to(self.device)
        self.first_rows = self.first_rows.to(self.device)
        transition_expert = torch.from_numpy(np.repeat(self.expert, episodes.length))
        held_out = torch.from_numpy(np.repeat(self._hold_out(), episodes.length))
        self.expert_items = {
            True: torch.nonzero(transition_expert & held_out).flatten(),
            False: torch.nonzero(transition_expert & ~held_out).flatten(),
        }
        self.union_items = {True: torch.nonzero(held_out).flatten(), False: torch.nonzero(~held_out).flatten()}
        self.columns: dict[str, Tensor] = {}
        for name in {Discriminator: [], Value: ["log_ratio"]}.get(type(self.stage), ["weight"]):
            self.columns[name] = torch.from_numpy(read_column(self.run_dir / "columns.h5", name)).to(self.device)

    def _device(self, device: torch.device) -> torch.device:
        size = sum(tensor.numel() * tensor.element_size() for tensor in self.data.values())
        # Half of what is free is left to networks and batches.
        if device.type == "cuda" and 2 * size > torch.cuda.mem_get_info(device)[0]:
            return torch.device("cpu")
        return device

    @property
    def holds_out(self) -> bool:
        """Whether there are held-out episodes to judge the discriminator by: a D_E of one episode cannot spare it."""
        return self.held_out > 0 and self.k > 1

    def _hold_out(self) -> np.ndarray:
        """Episodes the discriminator is judged by, bool [E]: the same share of D_E and of the rest."""
        rng = np.random.default_rng(self.seed)
        expert = self.expert
        chosen = np.zeros(len(expert), bool)
        for group in (np.flatnonzero(expert), np.flatnonzero(~expert)):
            if self.holds_out and len(group) > 1:
                chosen[rng.permutation(group)[: max(1, round(self.held_out * len(group)))]] = True
        return chosen

    def train_dataloader(self) -> Batches[Any]:
        if isinstance(self.stage, Discriminator):
            return self._batches(self.union_items[False], self._discriminator(False))
        everything = torch.arange(len(self.rows))
        return self._batches(everything, self._value if isinstance(self.stage, Value) else self._policy)

    def val_dataloader(self) -> Batches[Any] | list[Any]:
        if not isinstance(self.stage, Discriminator) or not len(self.expert_items[True]):
            return []
        return self._batches(self.union_items[True], self._discriminator(True), shuffle=False)

    def predict_dataloader(self) -> Batches[Any]:
        make = self._value if isinstance(self.stage, Value) else lambda items, _: self._step(items)
        return self._batches(torch.arange(len(self.rows)), make, size=8192, shuffle=False)

    def _batches(
        self, items: Tensor, make: Callable[..., Any], size: int | None = None, shuffle: bool = True
    ) -> Batches[Any]:
        trainer = self.trainer
        assert trainer is not None
        return Batches(
            items,
            size or self.batch_size,
            make,
            self.seed,
            lambda: trainer.current_epoch if shuffle else 0,
            trainer.global_rank,
            trainer.world_size,
            shuffle,
        )

    def _step(self, items: Tensor) -> Step:
        items = items.to(self.device)
        rows = self.rows[items]
        return Step(self.data["obs"][rows], self.data["state"][rows], self.data["actions"][items])

    def _discriminator(self, held_out: bool) -> Callable[[Tensor, torch.Generator], DiscriminatorBatch]:
        def make(items: Tensor, generator: torch.Generator) -> DiscriminatorBatch:
            expert = self.expert_items[held_out]
            drawn = expert[torch.randint(len(expert), (len(items),), generator=generator)]
            return DiscriminatorBatch(self._step(drawn), self._step(items))

        return make

    def _value(self, items: Tensor, generator: torch.Generator) -> ValueBatch:
        items = items.to(self.device)
        rows = self.rows[items]
        # Initial states have a sampler of their own: those that happen to be in the batch are no sample of P0.
        drawn = torch.randint(len(self.first_rows), (len(items),), generator=generator).to(self.device)
        initial = self.first_rows[drawn]
        obs, state = self.data["obs"], self.data["state"]
        return ValueBatch(
            obs=obs[rows],
            state=state[rows],
            next_obs=obs[rows + 1],
            next_state=state[rows + 1],
            last=self.last[items],
            log_ratio=self.columns["log_ratio"][items],
            initial_obs=obs[initial],
            initial_state=state[initial],
        )

    def _policy(self, items: Tensor, generator: torch.Generator) -> PolicyBatch:
        items = items.to(self.device)
        rows = self.rows[items]
        available = self.data.get("available_actions")
        return PolicyBatch(
            obs=self.data["obs"][rows],
            actions=self.data["actions"][items],
            available_actions=None if available is None else available[rows],
            weight=self.columns["weight"][items],
        )


def _statistics(values: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each entry, in float64 and a piece at a time."""
    total = np.zeros(values.shape[1])
    squares = np.zeros(values.shape[1])
    for start in range(0, len(values), 65536):
        total += values[start : start + 65536].sum(axis=0, dtype=np.float64)
    mean = total / len(values)
    for start in range(0, len(values), 65536):
        squares += ((values[start : start + 65536] - mean) ** 2).sum(axis=0)
    return mean.tolist(), np.sqrt(squares / len(values)).tolist()
