"""Low precision: where it does not pay, and where it would."""

import time

import pytest
import torch

from misodice.cli.main import main
from misodice.pipeline.precision import SLOWER, bfloat16_ratio
from tests.helpers.cli import CONFIGS, SMALL


@pytest.mark.parametrize(
    ("precision", "ratio", "said"),
    [
        ("bf16-mixed", 40.0, "takes 40 times as long as in 32 bits"),
        ("bf16-mixed", 0.6, None),
        ("32-true", 40.0, None),
        ("32-true", 0.9, None),
        ("32-true", 0.4, "2.5 times as fast in bfloat16: --trainer.precision bf16-mixed"),
    ],
)
def test_it_is_said_where_bfloat16_is_imitated_or_fast(
    precision, ratio, said, smax_file, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("misodice.pipeline.precision.bfloat16_ratio", lambda: ratio)
    where = ["--data.path", str(smax_file), "--run_dir", str(tmp_path / "run")]
    low = ["--trainer.precision", precision, "--trainer.accelerator", "cpu", "--trainer.fast_dev_run", "true"]
    assert main(["fit", "--config", str(CONFIGS / "smacv2_zerg.yaml"), *where, *SMALL, *low]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert ("bf16-mixed" in printed) == (said is not None)
    assert said is None or said in printed


def test_the_ratio_is_of_the_best_times_in_16_and_32_bits(monkeypatch):
    """The first time of each also chooses the kernel, and does not count."""
    seconds = {torch.bfloat16: [0.001, 8.0, 6.0, 9.0], torch.float32: [0.001, 4.0, 5.0, 1.5]}
    layers = []

    def repeat(work, number, repeat):
        output = work()
        layers.append(output.shape)
        return seconds[output.dtype]

    monkeypatch.setattr("timeit.repeat", repeat)
    assert bfloat16_ratio() == 4.0
    assert layers == [(512, 256), (512, 256)]


@pytest.mark.parametrize("imitated", [torch.bfloat16, torch.float32])
def test_a_slow_imitation_is_noticed(imitated, monkeypatch):
    def slow(rows, layer):
        if layer.dtype == imitated:
            time.sleep(0.05)
        return rows

    monkeypatch.setattr("torch.matmul", slow)
    assert (bfloat16_ratio() > SLOWER) == (imitated == torch.bfloat16)
