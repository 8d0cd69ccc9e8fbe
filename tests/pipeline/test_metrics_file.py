"""metrics.csv of a stage."""

import csv

import torch
from lightning.pytorch.loggers import CSVLogger

from misodice.pipeline.metrics_file import MetricsFile

ROWS = [
    ({"epoch": 0, "value/loss": torch.tensor(0.1)}, 3),
    ({"a": 1.5, "epoch": 1}, 7),
    ({"value/weight_expert": 2.0}, 8),
]


def test_it_is_what_lightning_writes(tmp_path):
    own, theirs = MetricsFile(tmp_path / "own" / "metrics.csv"), CSVLogger(tmp_path / "theirs", name="", version="")
    for values, step in ROWS:
        for logger in (own, theirs):
            logger.log_metrics(values, step)
            logger.save()
    own.finalize("success")
    assert (tmp_path / "own" / "metrics.csv").read_bytes() == (tmp_path / "theirs" / "metrics.csv").read_bytes()
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["metrics.csv"]


def test_what_was_there_stays_until_there_are_rows(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step\n1\n")
    logger = MetricsFile(path)
    logger.save()
    logger.finalize("failed")
    assert path.read_text() == "step\n1\n"
    logger.log_metrics({"value/loss": 2.0})
    logger.save()
    with path.open(newline="") as file:
        assert list(csv.DictReader(file)) == [{"step": "0", "value/loss": "2.0"}]
    assert logger.log_dir == logger.save_dir == str(tmp_path)
