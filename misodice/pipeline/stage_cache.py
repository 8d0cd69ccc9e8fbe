"""Finished stages that several runs share, found by fingerprint; each is trained by one run alone."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from misodice.data.columns import read_column, write_column
from misodice.errors import MisodiceError
from misodice.modules.stage import Stage
from misodice.runs.files import whole
from misodice.runs.lock import one_at_a_time
from misodice.runs.run_dir import RunDir


class StageCache:
    """`<folder>/<stage>-<fingerprint>/`: what a finished stage left in the run that trained it, with its columns.

    Args:
        folder: on a file system that all the runs see.
        run: the run that takes from there and publishes there.
        is_global_zero: whether this process is the first of a distributed run, which alone writes.
        console: where one line on what is taken goes.
    """

    def __init__(self, folder: Path, run: RunDir, is_global_zero: bool, console: Console) -> None:
        self.folder, self.run, self.is_global_zero, self.console = folder, run, is_global_zero, console

    @contextmanager
    def turn(self, stage: Stage, mark: str, finished: Callable[[], bool]) -> Iterator[bool]:
        """Whether this run is to train the stage; it is published when the `with` block ends well.

        Where another run trains the same, it is waited for; what is there already is put into this run.

        Args:
            stage: which.
            mark: its fingerprint.
            finished: whether this run has the stage by now.
        """
        place = self._place(stage, mark)
        # Tells the other processes of a distributed run, which cannot hold the lock too, whose turn it is.
        owner = self.folder / f".{place.name}.owner"
        me = str(self.run.path.resolve())
        if not self.is_global_zero:
            while not finished() and (place.is_dir() or not owner.is_file() or owner.read_text(encoding="utf-8") != me):
                time.sleep(0.2)
            yield not finished()
            return
        with one_at_a_time(place, f"{stage.name}: another run trains it; waiting for {place}", self.console):
            if place.is_dir():
                self._take(stage, mark, place)
                yield False
                return
            owner.write_text(me, encoding="utf-8")
            try:
                yield True
                self.publish(stage, mark)
            finally:
                owner.unlink()

    def publish(self, stage: Stage, mark: str) -> None:
        """Put the run's finished stage where other runs find it, whole or not at all."""
        place = self._place(stage, mark)
        if place.is_dir() or not self.is_global_zero:
            return
        temporary = self.folder / f".{place.name}.{os.getpid()}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            # Copies, not links: a later run of another config writes over its own files.
            shutil.copytree(self.run.path / stage.name, temporary)
            for column in stage.writes:
                write_column(temporary / "columns.h5", column, read_column(self.run.columns, column), mark)
            os.rename(temporary, place)
        except OSError:
            shutil.rmtree(temporary, ignore_errors=True)
            if not place.is_dir():  # else another run was faster
                raise

    def _place(self, stage: Stage, mark: str) -> Path:
        return self.folder / f"{stage.name}-{mark}"

    def _take(self, stage: Stage, mark: str, place: Path) -> None:
        needed = ["stage.json", *(["last.ckpt"] if stage.trained else []), *(["columns.h5"] if stage.writes else [])]
        missing = [name for name in needed if not (place / name).is_file()]
        if missing:
            raise MisodiceError(
                f"{place}: {missing[0]} is missing, expected a whole finished stage; delete the folder to have the "
                "stage trained again"
            )
        for column in stage.writes:
            write_column(self.run.columns, column, read_column(place / "columns.h5", column), mark)
        folder = self.run.path / stage.name
        # The record comes last: it is what calls the stage finished.
        for path in sorted(place.iterdir(), key=lambda path: path.name == "stage.json"):
            if path.name != "columns.h5":
                with whole(folder / path.name) as temporary:
                    shutil.copyfile(path, temporary)
        self.console.print(f"{stage.name}: taken from {place}, not trained again")
