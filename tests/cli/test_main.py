"""The real command line on small real data."""

import json
import re
import sys
from collections import Counter
from functools import partial

import h5py
import numpy as np
import pytest
import torch
import yaml

from misodice.__main__ import main as command_line
from misodice.cli.commands import COMMANDS
from misodice.cli.main import main
from misodice.cli.training import TrainingCLI
from misodice.data.episodes import Episodes
from misodice.envs import SMAX, Source
from misodice.rollout.collect import collect
from tests.helpers.cli import CONFIGS, fit, metrics

fit_smax = partial(fit, config="smacv2_zerg")


def test_fit_writes_every_artefact_and_a_second_run_trains_nothing(smax_file, tmp_path, capsys):
    run_dir = tmp_path / "run"
    fit_smax(run_dir, smax_file)
    assert {p.name for p in run_dir.iterdir()} == {
        *("config.yaml", "metrics.csv", "preferences.jsonl", ".preferences.jsonl.lock", ".lock"),
        *("labels.h5", "labels.png", "columns.h5", "summary.json"),
        *("preference", "discriminator", "value", "policy"),
    }
    summary = json.loads((run_dir / "summary.json").read_text())
    assert summary["rollout"]["episodes"] == 2 == len(summary["rollout"]["returns"])
    assert summary["engine"] == "smax"
    with h5py.File(run_dir / "columns.h5") as columns:
        assert columns["weight"][:].mean() == pytest.approx(1.0, abs=1e-4)
        assert np.isfinite(columns["log_ratio"][:]).all()
    logged = {name for row in metrics(run_dir) for name, value in row.items() if value}
    assert {"discriminator/held_out_loss", "value/loss", "policy/loss", "rollout/return", "rollout/win_rate"} <= logged

    before = {
        stage: (run_dir / stage / "last.ckpt").stat().st_mtime_ns for stage in ("discriminator", "value", "policy")
    }
    capsys.readouterr()
    fit_smax(run_dir, smax_file)
    assert capsys.readouterr().out.count("not trained again") == 4
    kept = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    fit_smax(run_dir, smax_file, "--value.alpha", "0.5", status=2)
    assert "value.alpha is 0.5, was 0.05" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()} == kept
    fit_smax(run_dir, smax_file, "--value.alpha", "0.5", "--replace", "true")
    after = {stage: (run_dir / stage / "last.ckpt").stat().st_mtime_ns for stage in before}
    assert after["discriminator"] == before["discriminator"]
    assert after["value"] > before["value"]
    assert after["policy"] > before["policy"]

    capsys.readouterr()
    assert (
        main(["test", "--config", str(run_dir / "config.yaml"), "--ckpt_path", "best", "--rollout.episodes", "3"]) == 0
    )
    assert "3 greedy rollouts" in capsys.readouterr().out


def test_help_names_every_command(capsys, monkeypatch):
    for arguments, status in (([], 2), (["--help"], 0)):
        monkeypatch.setattr(sys, "argv", ["misodice", *arguments])
        assert command_line() == status
        named = re.findall(r"^  (\w+)  ", capsys.readouterr().out, re.MULTILINE)
        assert sorted(named) == sorted([*COMMANDS, *TrainingCLI.subcommands()])


def test_one_seed_gives_equal_metrics(tiny_file, tmp_path):
    fit(tmp_path / "a", tiny_file)
    fit(tmp_path / "b", tiny_file)
    assert metrics(tmp_path / "a") == metrics(tmp_path / "b")


def test_mujoco_continuous_policy(hopper_file, tmp_path):
    fit(tmp_path / "run", hopper_file, config="mamujoco_hopper")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["rollout"]["win_rate"] is None
    assert np.isfinite(summary["rollout"]["return_mean"])


@pytest.mark.parametrize("mixer", ["LinearMixer", "VDNMixer", "QMIXMixer", "examples.attention_mixer.AttentionMixer"])
def test_any_mixer_by_class_path(tiny_file, tmp_path, mixer):
    fit(tmp_path / "run", tiny_file, "--value.mixer", mixer, "--discriminator.mixer", mixer)


def test_independent_mixer_gives_a_weight_for_each_agent(tiny_file, tmp_path):
    fit(tmp_path, tiny_file, "--value.mixer", "IndependentMixer", "--discriminator.mixer", "IndependentMixer")
    with h5py.File(tmp_path / "columns.h5") as columns:
        assert columns["weight"].shape[1] == 2
        assert columns["weight"][:].mean(axis=0) == pytest.approx(np.ones(2), abs=1e-4)


@pytest.mark.parametrize(
    ("method", "stages"),
    [("bc_0", 2), ("bc_05", 3), ("bc_1", 3), ("indd", 4), ("misodice_vdn", 4), ("omapl", 2), ("marl_sl", 3)],
)
def test_method_overlays_train_only_what_they_need(tiny_file, tmp_path, method, stages):
    fit(tmp_path, tiny_file, "--config", str(CONFIGS / "methods" / f"{method}.yaml"))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["method"] == method
    assert len(summary["stages"]) == stages


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--data.k", "33"], ["data.k is 33", "1 to 32"]),
        (["--value.objective", "logsumexp"], ["unbounded below"]),
        (
            ["--policy.weighting", '[{"class_path": "TopP", "init_args": {"top_p": 0}}]'],
            ["TopP.top_p: found 0.0", "at most 1"],
        ),
        (["--env", "StarCraft2"], ["smax", "starcraft2"]),
        (["--env.task", "zerg_5_vs_6"], ["'task'", "zerg_5_vs_5", "zerg_5_vs_6"]),
        (["--env", "MaMuJoCo"], ["engine 'smax'"]),
        (["--data.path", "absent.h5"], ["absent.h5", "does not exist"]),
        (["--run_dir", "/proc/misodice"], ["cannot be written"]),
    ],
)
def test_bad_options_are_refused_before_training(smax_file, tmp_path, capsys, options, words):
    fit_smax(tmp_path / "run", smax_file, *options, status=2)
    message = capsys.readouterr().err
    assert all(word in message for word in words), message
    assert not list(tmp_path.rglob("*.ckpt"))


def test_unknown_key_is_refused(smax_file, tmp_path, capsys):
    with pytest.raises(SystemExit):
        fit_smax(tmp_path / "run", smax_file, "--value.alfa", "1")
    assert "alfa" in capsys.readouterr().err


def test_nan_stops_the_stage_and_names_it(tiny_file, tmp_path, capsys):
    fit(tmp_path / "run", tiny_file, "--discriminator.lr", "1e30", status=2)
    assert "stage discriminator" in capsys.readouterr().err


def test_fast_dev_run_leaves_nothing(tiny_file, tmp_path):
    fit(tmp_path / "run", tiny_file, "--trainer.fast_dev_run", "true")
    assert not (tmp_path / "run").exists()


def test_info_mix_and_collect(smax_file, tmp_path, capsys):
    assert main(["info", "--path", str(smax_file), "--plot", str(tmp_path / "returns.png")]) == 0
    assert "expert" in capsys.readouterr().out
    assert (tmp_path / "returns.png").read_bytes().startswith(b"\x89PNG")
    both = tmp_path / "both.h5"
    assert main(["mix", "--inputs", f"[{smax_file}, {smax_file}]", "--output", str(both)]) == 0
    with h5py.File(both) as file:
        assert len(file["episode/length"]) == 64
    made = tmp_path / "made.h5"
    sources = '[{"behaviour": "heuristic", "episodes": 3, "source": "expert"}]'
    assert main(["collect", "--output", str(made), "--env", "SMAX", "--env.task", "3m", "--sources", sources]) == 0
    with h5py.File(made) as file:
        assert file["obs"].shape[1] == 3


def test_unknown_task_names_the_nearest(tmp_path, capsys):
    assert main(["collect", "--output", str(tmp_path / "x.h5"), "--env", "SMAX", "--env.task", "zreg_5_vs_5"]) == 2
    assert "zerg_5_vs_5" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_trained_policy_and_a_class_path_act_in_collect(smax_file, tmp_path, capsys):
    fit_smax(tmp_path / "run", smax_file)
    sources = [
        {"behaviour": str(tmp_path / "run" / "policy" / "last.ckpt"), "episodes": 2, "source": "mine"},
        {"behaviour": "misodice.rollout.actors.RandomActor", "episodes": 2, "source": "random"},
    ]
    command = ["collect", "--output", str(tmp_path / "x.h5"), "--env", "SMAX", "--env.task", "zerg_5_vs_5"]
    assert main([*command, "--sources", json.dumps(sources)]) == 0
    assert sorted(Episodes.read(tmp_path / "x.h5").source) == ["mine", "mine", "random", "random"]
    command[2], command[-1] = str(tmp_path / "y.h5"), "3m"
    capsys.readouterr()
    assert main([*command, "--sources", json.dumps(sources[:1])]) == 2
    assert "choose a policy of this task" in capsys.readouterr().err
    for behaviour, words in (
        ("absent.ckpt", "does not exist"),
        ("no.such.Actor", "cannot be imported"),
        ("x", "bundled"),
    ):
        source = {"behaviour": behaviour, "episodes": 1, "source": "x"}
        assert main([*command, "--sources", json.dumps([source])]) == 2
        assert words in capsys.readouterr().err


def test_mix_keeps_every_source_and_hides_none(smax_file, tmp_path):
    one = tmp_path / "one.h5"
    collect(SMAX("zerg_5_vs_5"), [Source("random", 3, "third")], one, seed=1)
    assert main(["mix", "--inputs", f"[{smax_file}, {one}]", "--output", str(tmp_path / "both.h5")]) == 0
    mixed = Episodes.read(tmp_path / "both.h5")
    assert Counter(mixed.source.tolist()) == {"expert": 12, "random": 20, "third": 3}
    assert sorted(mixed.returns) == sorted([*Episodes.read(smax_file).returns, *Episodes.read(one).returns])


def test_mix_refuses_two_environments(smax_file, hopper_file, tmp_path, capsys):
    assert main(["mix", "--inputs", f"[{smax_file}, {hopper_file}]", "--output", str(tmp_path / "x.h5")]) == 2
    assert "one environment" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_validate_and_a_missing_checkpoint(tiny_file, tmp_path, capsys):
    fit(tmp_path / "run", tiny_file)
    config = ["--config", str(tmp_path / "run" / "config.yaml")]
    capsys.readouterr()
    assert main(["validate", *config, "--rollout.episodes", "4"]) == 0
    assert "4 greedy rollouts" in capsys.readouterr().out
    assert main(["test", *config, "--ckpt_path", str(tmp_path / "absent.ckpt")]) == 2
    assert "absent.ckpt does not exist" in capsys.readouterr().err
    assert main(["test", *config, "--ckpt_path", str(tmp_path / "run" / "value" / "last.ckpt")]) == 2
    message = capsys.readouterr().err
    assert "value/last.ckpt" in message
    assert "expected a subclass of misodice.modules.policy.Policy" in message


def test_another_logger_by_config(tiny_file, tmp_path):
    logger = "lightning.pytorch.loggers.TensorBoardLogger"
    fit(tmp_path / "run", tiny_file, "--trainer.logger", logger, "--trainer.logger.save_dir", str(tmp_path / "board"))
    assert list((tmp_path / "board").rglob("events.out.tfevents*"))
    assert metrics(tmp_path / "run")


def test_print_config_is_a_config(tmp_path, capsys):
    command = ["fit", "--config", str(CONFIGS / "smacv2_zerg.yaml"), "--value.alpha", "0.5", "--print_config"]
    with pytest.raises(SystemExit):
        main(command)
    printed = capsys.readouterr().out
    path = tmp_path / "printed.yaml"
    path.write_text(printed)
    assert yaml.safe_load(printed)["value"]["init_args"]["alpha"] == 0.5
    with pytest.raises(SystemExit):
        main(["fit", "--config", str(path), "--print_config"])
    assert yaml.safe_load(capsys.readouterr().out) == yaml.safe_load(printed)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--env.task", "Hoper"], ["'Hoper'", "Hopper"]),
        (["--env.task", "Hopper", "--env.partition", "7x7"], ["env.partition", "'7x7'"]),
    ],
)
def test_unknown_mujoco_names(tmp_path, capsys, options, words):
    assert main(["collect", "--output", str(tmp_path / "x.h5"), "--env", "MaMuJoCo", *options]) == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words), message


@pytest.mark.slow
def test_compiled_networks_learn_the_same(smax_file, tmp_path):
    fit_smax(tmp_path / "plain", smax_file)
    fit_smax(tmp_path / "compiled", smax_file, "--trainer.callbacks", "misodice.callbacks.compiling.Compile")
    plain, compiled = metrics(tmp_path / "plain"), metrics(tmp_path / "compiled")
    assert len(plain) == len(compiled)
    for name in ("discriminator/loss", "value/loss", "policy/loss"):
        before, after = ([float(row[name]) for row in rows if row[name]] for rows in (plain, compiled))
        assert after == pytest.approx(before, rel=1e-3)
    keys = [
        set(torch.load(tmp_path / run / "value" / "last.ckpt", weights_only=True)["state_dict"])
        for run in ("plain", "compiled")
    ]
    assert keys[0] == keys[1]
