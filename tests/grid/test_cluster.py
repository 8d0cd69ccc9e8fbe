"""Where Ray puts its files, whatever other work has set."""

import io
from pathlib import Path

import pytest

from misodice.grid.cluster import LONGEST_FOLDER, OF_RAY, _folder
from misodice.grid.work import OF_A_LAUNCHER
from misodice.runs.console import console


@pytest.fixture
def said(monkeypatch):
    for name in OF_RAY:
        monkeypatch.delenv(name, raising=False)
    return io.StringIO()


def test_rays_own_choice_where_nothing_is_wrong(said, monkeypatch):
    assert _folder(console(file=said)) is None
    monkeypatch.setenv("TMPDIR", "/tmp")
    assert _folder(console(file=said)) is None
    assert said.getvalue() == ""


@pytest.mark.parametrize("name", OF_RAY)
def test_a_path_too_long_for_sockets(said, monkeypatch, tmp_path, name):
    folder = tmp_path / ("x" * LONGEST_FOLDER)
    folder.mkdir()
    monkeypatch.setenv(name, str(folder))
    chosen = _folder(console(file=said))
    assert chosen is not None
    assert Path(chosen).parent == Path("/tmp")
    assert (
        f"{name}: {folder} is too long a path for Ray's sockets; Ray's temporary files go to {chosen}"
        in said.getvalue()
    )


def test_a_folder_that_is_not_there(said, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/absent")
    assert _folder(console(file=said)) is not None
    assert "TMPDIR: /absent is no folder that can be written" in said.getvalue()


def test_variables_of_a_launcher_do_not_reach_a_cell():
    of_others = ["SLURM_PROCID", "SLURM_JOB_ID", "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK"]
    of_others += ["NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "TORCHELASTIC_RUN_ID"]
    kept = ["PATH", "OPENAI_API_KEY", "CUDA_VISIBLE_DEVICES", "RANKING", "MY_RANK", "MASTER", "SLURMY"]
    assert all(OF_A_LAUNCHER.fullmatch(name) for name in of_others)
    assert not any(OF_A_LAUNCHER.fullmatch(name) for name in kept)
