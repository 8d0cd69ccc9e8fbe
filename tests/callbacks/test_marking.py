"""The fingerprint in checkpoints."""

import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from misodice.callbacks.marking import Mark
from misodice.datamodules.successors import Successors
from misodice.modules import Value
from tests.helpers.small import table_of, train


def test_every_checkpoint_is_marked(tmp_path):
    data = Successors(table_of([4, 3]), torch.zeros(7), False, 4, seed=0)
    kept = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    trainer = train(Value(), data, Mark("abcd"), kept, epochs=2, enable_checkpointing=True)
    trainer.save_checkpoint(tmp_path / "another.ckpt")
    paths = sorted(tmp_path.glob("*.ckpt"))
    assert len(paths) == 3
    for path in paths:
        assert torch.load(path, weights_only=True)["fingerprint"] == "abcd"
