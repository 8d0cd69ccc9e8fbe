"""The four training loops on tensors in memory: index, forward, loss, backward, Adam, and nothing else."""

from __future__ import annotations

import copy
import time
from contextlib import nullcontext
from typing import Any

import torch
from synthetic import CONFIGS
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from misodice.data.pairs import LabelledPairs
from misodice.datamodules.table import TransitionTable
from misodice.modules import OMAPL, Stage, Value, dice

BATCH = 512
GAMMA, ALPHA = 0.99, 0.05


def now(device: str) -> float:
    """Seconds, once the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


class Bare:
    """The loop of one stage, on a copy of it.

    Args:
        table: D_U, on the device of the training.
        stage: whose networks and options are taken; it is not trained.
        precision: "32-true" or "bf16-mixed".
        pairs: of the preference stage.
    """

    def __init__(
        self, table: TransitionTable, stage: Stage, precision: str, pairs: LabelledPairs | None = None
    ) -> None:
        self.obs, self.state, self.actions = table.obs, table.state, table.actions
        self.available, self.terminated = table.available_actions, table.terminated
        self.rows, self.last, self.initial = table.rows, table.last, table.first_rows
        self.device = self.obs.device.type
        self.column = torch.ones(len(self.rows), device=self.device)
        self.stage: Any = copy.deepcopy(stage)
        self.stage._build(table.spec)
        self.stage.to(self.device)
        self.loss_of = getattr(self, stage.name)
        self.size, self.count = BATCH, len(self.rows)
        """Items of one step, and items that there are."""
        self.samples = BATCH
        """Transitions of one step."""
        if isinstance(stage, Value):
            self.window = stage.window
            self.size, self.count = BATCH // self.window, len(self.rows) // self.window
        if pairs is not None and isinstance(stage, OMAPL):
            self.size, self.count = stage.pairs, len(pairs.pairs)
            self.pairs = torch.from_numpy(pairs.pairs).to(self.device)
            self.first = torch.from_numpy(pairs.first).float().to(self.device)
            self.start = table.length.cumsum(0) - table.length
            self.length = int(table.length[0])  # all are of one length
            self.taken = min(self.length, stage.max_steps)
            self.samples = 2 * self.size * self.taken
        self._make_optimizer(capturable=False)
        self.low = precision == "bf16-mixed"

    def _make_optimizer(self, capturable: bool) -> None:
        trained = [each for each in self.stage.parameters() if each.requires_grad]
        self.optimizer = torch.optim.Adam(trained, lr=3e-4, fused=True, capturable=capturable)

    def seconds(self, steps: int) -> float:
        """Of so many steps."""
        order = torch.randperm(self.count, device=self.device).repeat(-(-steps * self.size // self.count))
        started = now(self.device)
        for step in range(steps):
            self.step(order[step * self.size : (step + 1) * self.size])
        return now(self.device) - started

    def step(self, items: Tensor) -> None:
        """One step on `items`, int64 [size]."""
        # Without the cache of weights in low precision, which a graph cannot keep.
        with torch.autocast(self.device, torch.bfloat16, cache_enabled=False) if self.low else nullcontext():
            loss = self.loss_of(items)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if self.stage.name == "preference":
            self._let_copies_follow()

    def flops(self) -> float:
        """Of the matrix products of one transition, forward and backward."""
        with FlopCounterMode(display=False) as counter:
            self.seconds(1)
        return float(counter.get_total_flops()) / self.samples

    def _mixed(self, mixer: torch.nn.Module, values: Tensor, state: Tensor) -> Tensor:
        with torch.autocast(self.device, enabled=False):
            mixed: Tensor = mixer(values, state)
        return mixed

    def _mixed_raw(self, values: Tensor, state: Tensor) -> Tensor:
        return self._mixed(self.stage.mixer, values, self.stage.standardise_state(state))

    def _encoded(self, actions: Tensor) -> Tensor:
        if self.available is None:
            return actions
        return torch.nn.functional.one_hot(actions, self.available.shape[-1]).float()

    def preference(self, items: Tensor) -> Tensor:
        stage, episodes = self.stage, self.pairs[items].flatten()
        shape = len(episodes), self.taken
        within = torch.arange(self.taken, device=self.device).expand(shape)
        if self.taken < self.length:
            within = ((within + torch.rand(shape, device=self.device)) * (self.length / self.taken)).long()
        chosen = (self.start[episodes].unsqueeze(-1) + within).flatten()
        rows = self.rows[chosen]
        obs, following = stage.standardise_obs(self.obs[rows]), stage.standardise_obs(self.obs[rows + 1])
        state, next_state = stage.standardise_state(self.state[rows]), stage.standardise_state(self.state[rows + 1])
        inputs = torch.cat([obs, self._encoded(self.actions[chosen])], dim=-1)
        target_q, target_v, target_mixer = stage.target
        with torch.no_grad():
            next_v = self._mixed(target_mixer, target_v(following).squeeze(-1), next_state)
            slow_q = target_q(inputs).squeeze(-1)
            with torch.autocast(self.device, enabled=False):
                slope = target_mixer.weight(state).abs()  # HyperMixer's derivative in the local values
        reward = self._mixed(stage.mixer, stage.q(inputs).squeeze(-1), state)
        reward = reward - GAMMA * (1.0 - self.terminated[chosen]) * next_v
        sums = reward.view(len(items), 2, self.taken).sum(dim=-1) * (self.length / self.taken)
        loss = dice.preference_loss(sums[:, 0] - sums[:, 1], self.first[items])
        loss = loss + stage.regulariser * reward.square().mean()
        return loss + dice.extreme_value_loss(slope * (slow_q - stage.v(obs).squeeze(-1)) / stage.beta)

    def _let_copies_follow(self) -> None:
        fast = [*self.stage.q.parameters(), *self.stage.v.parameters(), *self.stage.mixer.parameters()]
        with torch.no_grad():
            torch._foreach_lerp_(list(self.stage.target.parameters()), fast, self.stage.tau)

    def discriminator(self, items: Tensor) -> Tensor:
        rows = self.rows[items]
        inputs = torch.cat([self.stage.standardise_obs(self.obs[rows]), self._encoded(self.actions[items])], dim=-1)
        logits = self._mixed_raw(self.stage.local(inputs).squeeze(-1), self.state[rows])
        return dice.discriminator_loss(logits, self.column[items], self.column[items])

    def value(self, items: Tensor) -> Tensor:
        initial = self.initial[torch.randint(len(self.initial), (BATCH // 8,), device=self.device)]
        every, chosen = self.windows(items)
        every = torch.cat([every.flatten(), initial])
        local = self.stage.local(self.stage.standardise_obs(self.obs[every])).squeeze(-1)
        nu = self._mixed_raw(local, self.state[every])
        return self.value_loss(nu, self.column[chosen], self.last[chosen])

    def windows(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Rows [W, L + 1] and transitions [W, L] of windows `items`, int64 [W]."""
        chosen = items.unsqueeze(-1) * self.window + torch.arange(self.window, device=self.device)
        rows = self.rows[chosen]
        return torch.cat([rows, rows[:, -1:] + 1], dim=1), chosen

    def value_loss(self, nu: Tensor, log_ratio: Tensor, last: Tensor) -> Tensor:
        """Of ν of windows' rows and of initial rows, one after another, and columns [W, L]."""
        inside, initial_nu = nu[: -(BATCH // 8)].view(-1, self.window + 1), nu[-(BATCH // 8) :]
        advantage = dice.advantage(log_ratio, inside[:, :-1], inside[:, 1:], last, GAMMA)
        return dice.value_loss_exp(initial_nu, advantage, ALPHA, GAMMA)

    def policy(self, items: Tensor) -> Tensor:
        rows = self.rows[items]
        output = self.stage.local(self.stage.standardise_obs(self.obs[rows]))
        available = None if self.available is None else self.available[rows]
        log_prob = self.stage.head.log_prob(output, self.actions[items], available)
        return dice.weighted_bc_loss(log_prob, self.column[items])


class Captured(Bare):
    """The same loop as one CUDA graph, replayed for each step: on a GPU alone."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._make_optimizer(capturable=True)
        self.items = torch.zeros(self.size, dtype=torch.int64, device=self.device)
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):  # warms up: what is made once must not be made in the graph
            for _ in range(3):
                self.step(self.items)
        torch.cuda.current_stream().wait_stream(beside)
        self.optimizer.zero_grad()  # so that the graph's own memory holds the gradients
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.step(self.items)

    def seconds(self, steps: int) -> float:
        order = torch.randperm(self.count, device=self.device).repeat(-(-steps * self.size // self.count))
        started = now(self.device)
        for step in range(steps):
            self.items.copy_(order[step * self.size : (step + 1) * self.size])
            self.graph.replay()
        return now(self.device) - started


def shipped_preference(config: str) -> OMAPL:
    """The preference stage with a shipped config's regulariser and number of steps of an episode."""
    import yaml

    options = yaml.safe_load((CONFIGS / f"{config}.yaml").read_text(encoding="utf-8"))["preference"]["init_args"]
    return OMAPL(regulariser=options["regulariser"], max_steps=options["max_steps"])
