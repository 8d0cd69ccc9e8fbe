"""What a run logs: metrics.csv of each stage and of the run, and the user's loggers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from lightning.pytorch.loggers import Logger

from misodice.callbacks.joining import JoinMetrics
from misodice.errors import MisodiceError
from misodice.pipeline.loggers import RunLoggers, RunNames
from misodice.pipeline.metrics_file import MetricsFile
from misodice.runs.run_dir import RunDir


class RunLogs:
    """The logs of one run.

    Args:
        run: where they are written.
        order: names of the run's stages.
        current: names of those whose logs are of this run already, since they are up to date.
        loggers: the user's.
        names: what the loggers are told of the run.
        is_global_zero: whether this process writes for all.
    """

    def __init__(
        self,
        run: RunDir,
        order: Sequence[str],
        current: Sequence[str],
        loggers: RunLoggers,
        names: RunNames,
        is_global_zero: bool,
    ) -> None:
        self.run, self.order, self.current = run, list(order), set(current)
        self.loggers, self.names, self.is_global_zero = loggers, names, is_global_zero

    def join(self) -> None:
        """Write the run's metrics.csv: of the stages that are up to date or begun, not of an earlier run's."""
        if self.is_global_zero:
            self.run.join_metrics([stage for stage in self.order if stage in self.current])

    @contextmanager
    def of_stage(self, stage: str, steps: int | None) -> Iterator[tuple[list[Logger], JoinMetrics]]:
        """The loggers of a stage, and what joins its log with the others; all is written when the block ends.

        Args:
            stage: its name.
            steps: that are done where the stage goes on; None where it is trained anew.
        """
        path = self.run.path / stage / "metrics.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        metrics = MetricsFile(path)
        if steps is not None:
            self._log_again(metrics, stage, steps)
        elif self.is_global_zero:
            path.unlink(missing_ok=True)
        self.current.add(stage)
        loggers = self.loggers.make(stage, self.names, resumed=steps is not None)

        def join() -> None:
            metrics.flush()
            self.join()

        try:
            yield [metrics, *loggers], JoinMetrics(join)
        except BaseException:
            with suppress(MisodiceError):  # what ended the stage is what the user must hear
                join()
            self.loggers.close(loggers, failed=True)
            raise
        join()
        self.loggers.close(loggers, failed=False)

    def _log_again(self, metrics: MetricsFile, stage: str, steps: int) -> None:
        """What was logged in the first `steps` steps: the curves must be whole."""
        for row in self.run.log(stage):
            step, logged = int(row.pop("step")), {name: value for name, value in row.items() if value}
            if step < steps:
                values = {name: int(value) if name == "epoch" else float(value) for name, value in logged.items()}
                metrics.log_metrics(values, step)
        metrics.flush()
