"""Checkpoints that appear whole or not at all."""

import os

import pytest
import torch

from misodice.callbacks.checkpoints import WholeCheckpoints
from misodice.errors import MisodiceError


def test_a_checkpoint_replaces_the_one_before_in_one_step(tmp_path, monkeypatch):
    path = tmp_path / "stage" / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"step": 1}, path)
    replace, seen = os.replace, []

    def watched(source, target):
        # The old one is there until the new one is whole.
        seen.append((torch.load(path)["step"], torch.load(source)["step"]))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    WholeCheckpoints().save_checkpoint({"step": 2}, path)
    assert seen == [(1, 2)]
    assert torch.load(path)["step"] == 2
    assert [each.name for each in path.parent.iterdir()] == ["last.ckpt"]


def test_a_full_disk_leaves_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"step": 1}, path)

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(MisodiceError, match="No space left on device"):
        WholeCheckpoints().save_checkpoint({"step": 2}, path)
    assert torch.load(path)["step"] == 1
    assert [each.name for each in tmp_path.iterdir()] == ["last.ckpt"]


def test_where_nothing_can_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MisodiceError, match=r"last\.ckpt: cannot be written"):
        WholeCheckpoints().save_checkpoint({"step": 1}, tmp_path / "file" / "last.ckpt")
