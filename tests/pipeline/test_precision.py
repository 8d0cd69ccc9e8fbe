"""Low precision where it does not pay."""

import math

import pytest

from misodice.cli.main import main
from misodice.pipeline.precision import bfloat16_ratio
from tests.helpers.cli import CONFIGS, SMALL


@pytest.mark.parametrize(
    ("precision", "ratio", "said"), [("bf16-mixed", 40.0, True), ("bf16-mixed", 0.6, False), ("32-true", 40.0, False)]
)
def test_it_is_said_where_bfloat16_is_imitated(precision, ratio, said, smax_file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("misodice.pipeline.precision.bfloat16_ratio", lambda: ratio)
    where = ["--data.path", str(smax_file), "--run_dir", str(tmp_path / "run")]
    low = ["--trainer.precision", precision, "--trainer.accelerator", "cpu", "--trainer.fast_dev_run", "true"]
    assert main(["fit", "--config", str(CONFIGS / "smacv2_zerg.yaml"), *where, *SMALL, *low]) == 0
    assert ("takes 40 times as long as in 32 bits" in " ".join(capsys.readouterr().out.split())) == said


def test_the_ratio_is_measured():
    assert 0 < bfloat16_ratio() < math.inf
