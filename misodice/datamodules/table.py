"""Serves D_E, D_U and initial states to the three stages, from tensors in memory: a batch is one indexing."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor

from misodice.data.columns import read_column
from misodice.data.episodes import Episodes, rows_of_transitions
from misodice.data.preferences import Preferences
from misodice.data.ranking import Ranking, check_ranking, rank_episodes, top_k
from misodice.datamodules.batches import DiscriminatorBatch, PolicyBatch, Spec, Step, Transition, ValueBatch
from misodice.datamodules.loader import B, Batches
from misodice.datamodules.pairs import PairedEpisodes
from misodice.modules.stage import Stage
from misodice.runs.files import file_digest

IN_ORDER_BATCH = 8192
"""Transitions of a batch that no gradient comes from."""


class Transitions(LightningDataModule):
    """An episodes file as D_U, and its K best episodes as D_E.

    Args:
        path: episodes file; null makes one under `data/` from the bundled behaviours.
        ranking: "preference" (recovered reward, summed over the episode), "return" (true return) or "oracle" (true
            source).
        k: number of episodes in D_E.
        batch_size: transitions a step and process (Table 3: 512).
        held_out: share of the episodes, of D_E and of the rest alike, that the discriminator never trains on.
    """

    def __init__(
        self,
        path: str | None = None,
        ranking: Ranking = "preference",
        k: int = 200,
        batch_size: int = 512,
        held_out: float = 0.1,
    ) -> None:
        super().__init__()
        self.path, self.ranking, self.k = path, ranking, k
        self.batch_size, self.held_out = batch_size, held_out
        self.stage: Stage
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

    @cached_property
    def digest(self) -> str:
        """Hash of the file's content, read through once."""
        return file_digest(self.file)

    def check(self) -> None:
        """Raise a MisodiceError for a ranking that the file cannot give."""
        check_ranking(self.episodes, self.ranking, self.k, str(self.file))

    def prefer(self, preferences: Preferences, held_out: float) -> None:
        """Give the answered pairs that the preference stage learns from, and the share that it is judged by."""
        self.pairs = PairedEpisodes(self, preferences, held_out)

    @property
    def recovered(self) -> np.ndarray:
        """G(σ) = Σ R(s, a) of every episode, [E], from the column `reward` (Algorithm 2)."""
        reward = read_column(self.run_dir / "columns.h5", "reward").astype(np.float64)
        return np.asarray(np.add.reduceat(reward, np.cumsum(self.episodes.length) - self.episodes.length))

    @property
    def score(self) -> np.ndarray:
        """What the episodes are ranked by, [E]; by "preference" once the preference stage has written `reward`."""
        return self.recovered if self.ranking == "preference" else rank_episodes(self.episodes, self.ranking)

    @property
    def expert(self) -> np.ndarray:
        """Which episodes are D_E, bool [E]."""
        return top_k(self.score, self.k)

    def _index(self) -> None:
        episodes = self._episodes
        assert episodes is not None
        self.rows = torch.from_numpy(rows_of_transitions(episodes.length))
        ends = np.cumsum(episodes.length) - 1
        self.last = torch.zeros(episodes.n_transitions)
        self.last[torch.from_numpy(ends)] = 1.0
        self.terminated = torch.from_numpy(episodes.terminated).float()
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
            env=episodes.header.env,
            obs_features=episodes.header.obs_features,
            action_scale=episodes.header.action_scale,
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
        self.first_rows, self.terminated = self.first_rows.to(self.device), self.terminated.to(self.device)
        if self.stage.needs_experts:
            expert = self._experts()
            held_out = self._hold_out(expert)
            self.transition_expert = torch.from_numpy(np.repeat(expert, episodes.length)).to(self.device)
            self.transition_held_out = torch.from_numpy(np.repeat(held_out, episodes.length)).to(self.device)
        self.columns = {name: self._column(name) for name in self.stage.reads}

    def _column(self, name: str) -> Tensor:
        assert self.trainer is not None
        if self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            # No stage has written one: fast_dev_run leaves no artefact.
            return torch.ones(self.episodes.n_transitions, device=self.device)
        return torch.from_numpy(read_column(self.run_dir / "columns.h5", name)).to(self.device)

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

    def _experts(self) -> np.ndarray:
        assert self.trainer is not None
        if self.trainer.fast_dev_run and self.ranking == "preference":  # type: ignore[attr-defined]
            # No stage has written a reward: fast_dev_run leaves no artefact.
            return top_k(np.zeros(self.episodes.n_episodes), self.k)
        return self.expert

    def _hold_out(self, expert: np.ndarray) -> np.ndarray:
        """Episodes the discriminator is judged by, bool [E]: the same share of D_E and of the rest."""
        rng = np.random.default_rng(self.seed)
        chosen = np.zeros(len(expert), bool)
        for group in (np.flatnonzero(expert), np.flatnonzero(~expert)):
            if self.holds_out and len(group) > 1:
                chosen[rng.permutation(group)[: max(1, round(self.held_out * len(group)))]] = True
        return chosen

    def train_dataloader(self) -> Batches[Any]:
        return self.stage.train_batches(self)

    def val_dataloader(self) -> Batches[Any] | list[Any]:
        return self.stage.val_batches(self) or []

    def predict_dataloader(self) -> Batches[Any]:
        return self.stage.predict_batches(self)

    def expert_and_union_batches(self, held_out: bool) -> Batches[DiscriminatorBatch]:
        """Transitions of D_U, and as many drawn from D_E; of the held-out episodes, or of the others."""
        expert = torch.nonzero(self.transition_expert & (self.transition_held_out == held_out)).flatten()

        def make(items: Tensor, mine: slice, generator: torch.Generator) -> DiscriminatorBatch:
            drawn = torch.randint(len(expert), (len(items),), generator=generator)[mine].to(self.device)
            return DiscriminatorBatch(self._step(expert[drawn]), self._step(items[mine]))

        items = torch.nonzero(self.transition_held_out.cpu() == held_out).flatten()
        return self.batches(make, items=items, in_order=held_out)

    def transition_batches(self) -> Batches[Transition]:
        """Every transition with its successor, in order."""
        return self.batches(lambda items, mine, _: self.transition(items[mine]), in_order=True)

    def step_batches(self) -> Batches[Step]:
        """Every transition, in order."""
        return self.batches(lambda items, mine, _: self._step(items[mine]), in_order=True)

    def value_batches(self, ratio: str, in_order: bool = False, absorbing: bool = False) -> Batches[ValueBatch]:
        """Transitions with successors; column `ratio` as log_ratio.

        With `absorbing` every episode's final state is a transition more: it follows upon itself, at the log_ratio of
        the episode's last step, and `last` marks nothing.
        """
        obs, state, log_ratio = self.data["obs"], self.data["state"], self.columns[ratio]
        rows, next_rows, last = self.rows, self.rows + 1, self.last
        if absorbing:
            ends = torch.nonzero(self.last).flatten()
            rows, next_rows = torch.cat([rows, rows[ends] + 1]), torch.cat([next_rows, rows[ends] + 1])
            log_ratio, last = torch.cat([log_ratio, log_ratio[ends]]), torch.zeros(len(rows), device=self.device)

        def make(items: Tensor, mine: slice, generator: torch.Generator) -> ValueBatch:
            share = mine.stop - mine.start
            processes, process = len(items) // share, mine.start // share
            items = items[mine].to(self.device)
            here, following = rows[items], next_rows[items]
            # Initial states have a sampler of their own: those that happen to be in the batch are no sample of P0.
            # An eighth of the batch: their part of the loss has the factor 1 − γ, and so has its noise.
            size = (processes, -(-share // 8))
            drawn = torch.randint(len(self.first_rows), size, generator=generator)[process].to(self.device)
            initial = self.first_rows[drawn]
            return ValueBatch(
                obs=obs[here],
                state=state[here],
                next_obs=obs[following],
                next_state=state[following],
                last=last[items],
                log_ratio=log_ratio[items],
                initial_obs=obs[initial],
                initial_state=state[initial],
            )

        return self.batches(make, torch.arange(len(rows)), in_order)

    def policy_batches(self, weight: Tensor) -> Batches[PolicyBatch]:
        """Transitions weighed by `weight`, [T] or [T, n], those of greater weight drawn more often.

        Most weights are near zero, and a batch of them teaches nothing; but one that is near zero and drawn in
        proportion counts in full then, and a normal's log-density of such an action is immense. So half of the draws
        are in proportion to the agents' mean weight and half are uniform.
        """
        available = self.data.get("available_actions")
        drawn = (1.0 + (weight if weight.ndim == 1 else weight.mean(dim=-1))) / 2.0
        left = weight / (drawn if weight.ndim == 1 else drawn.unsqueeze(-1))

        def make(items: Tensor, mine: slice, generator: torch.Generator) -> PolicyBatch:
            items = items[mine].to(self.device)
            rows = self.rows[items]
            return PolicyBatch(
                obs=self.data["obs"][rows],
                actions=self.data["actions"][items],
                available_actions=None if available is None else available[rows],
                weight=left[items],
            )

        return self.batches(make, weight=drawn)

    def _step(self, items: Tensor) -> Step:
        items = items.to(self.device)
        rows = self.rows[items]
        return Step(self.data["obs"][rows], self.data["state"][rows], self.data["actions"][items])

    def transition(self, items: Tensor) -> Transition:
        """Transitions with their successors, items int64 [M]."""
        items = items.to(self.device)
        rows = self.rows[items]
        obs, state = self.data["obs"], self.data["state"]
        return Transition(
            obs=obs[rows],
            state=state[rows],
            actions=self.data["actions"][items],
            next_obs=obs[rows + 1],
            next_state=state[rows + 1],
            terminated=self.terminated[items],
        )

    def batches(
        self,
        make: Callable[[Tensor, slice, torch.Generator], B],
        items: Tensor | None = None,
        in_order: bool = False,
        batch_size: int | None = None,
        weight: Tensor | None = None,
    ) -> Batches[B]:
        """Batches of `items` (null: every transition), shuffled and of `self.batch_size` unless told."""
        trainer = self.trainer
        assert trainer is not None
        return Batches(
            torch.arange(len(self.rows)) if items is None else items,
            batch_size or (IN_ORDER_BATCH if in_order else self.batch_size),
            make,
            self.seed,
            # Lightning counts in-order passes as epochs too; their draws must not depend on when they are made.
            lambda: 0 if in_order else trainer.current_epoch,
            trainer.global_rank,
            trainer.world_size,
            shuffle=not in_order,
            weight=weight,
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
