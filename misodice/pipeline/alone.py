"""A run of one device, whatever a scheduler or a launcher of other work has put into the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.fabric.plugins import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment, find_free_network_port
from lightning.pytorch.utilities import rank_zero_only

from misodice.pipeline.quiet import quiet_lightning
from misodice.pipeline.trainer_checks import made


class OneProcess(LightningEnvironment):
    """This process is the first and the only one: SLURM_*, RANK, LOCAL_RANK and the like do not count.

    A task of `srun`, a worker of Ray that srun started and a pod of Kubeflow have such variables, also where each of
    them trains a run of its own.
    """

    def __init__(self) -> None:
        super().__init__()
        # Lightning has read it from the environment when it was imported. Loggers go by it.
        self.set_global_rank(0)

    @property
    def creates_processes_externally(self) -> bool:
        return False

    @property
    def main_address(self) -> str:
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        if self._main_port == -1:
            self._main_port = find_free_network_port()
        return self._main_port

    def local_rank(self) -> int:
        return 0

    def node_rank(self) -> int:
        return 0


def is_alone(options: Mapping[str, Any]) -> bool:
    """Whether these options of a Trainer are those of one device on one machine.

    A cluster environment that the user names decides by itself, so the answer is then no.

    Args:
        options: as `lightning.Trainer` takes them.

    Raises:
        MisodiceError: Lightning refuses an option, or this machine has no such device.
    """
    plugins = options.get("plugins")
    given = list(plugins) if isinstance(plugins, (list, tuple)) else [plugins]
    if any(isinstance(plugin, ClusterEnvironment) for plugin in given):
        return False
    if getattr(options.get("strategy"), "cluster_environment", None) is not None:
        return False
    rank = getattr(rank_zero_only, "rank", 0)
    try:
        # With this environment Lightning looks at no variable of a scheduler, which could be somebody else's.
        environment = [plugin for plugin in given if plugin is not None] + [OneProcess()]
        with quiet_lightning():
            trainer = made({**options, "plugins": environment})
    finally:
        rank_zero_only.rank = rank  # type: ignore[attr-defined]
    return trainer.num_devices * trainer.num_nodes == 1
