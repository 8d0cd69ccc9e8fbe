"""Experiment from Python: what the command line does, option for option."""

import inspect
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import yaml
from lightning import Callback

import misodice
from misodice import (
    OMAPL,
    AgentMLP,
    ByEpisode,
    CloneWeights,
    Data,
    Discriminator,
    Experiment,
    HyperMixer,
    Labels,
    MisodiceError,
    OracleLabeller,
    Policy,
    Result,
    RewardModel,
    Rollout,
    RuleLabeller,
    Stage,
    TopP,
    Value,
    VDNMixer,
    collect,
)
from misodice.cli.main import main
from misodice.data.episodes import Episodes
from misodice.runs.parts import config_of
from tests.helpers.tiny_engine import Tiny

STAGES = ("preference", "discriminator", "value", "policy")
QUICK = {"max_epochs": 2, "enable_progress_bar": False}


def experiment(run_dir: Path | str, data: Path | Data, **others: Any) -> Experiment:
    given = {
        "env": Tiny(),
        "data": data if isinstance(data, Data) else Data(str(data), k=5, batch_size=64),
        "labels": Labels(n_pairs=60),
        "rollout": Rollout(episodes=4, every_n_epochs=1),
        "trainer": QUICK,
        "run_dir": run_dir,
    }
    return Experiment(**given | others)


@pytest.fixture(scope="module")
def finished(tiny_file, tmp_path_factory) -> tuple[Experiment, Result]:
    made = experiment(tmp_path_factory.mktemp("finished") / "run", tiny_file, method="mine")
    result = made.fit()
    assert result is not None
    return made, result


def fingerprints(run_dir: Path) -> dict[str, str]:
    return {stage: json.loads((run_dir / stage / "stage.json").read_text())["fingerprint"] for stage in STAGES}


def columns(run_dir: Path) -> dict[str, np.ndarray]:
    with h5py.File(run_dir / "columns.h5") as file:
        return {name: file[name][:] for name in file}


def test_python_and_the_command_line_are_one(tiny_file, tmp_path, capsys):
    network = {"class_path": "AgentMLP", "init_args": {"hidden": [32, 16]}}
    config = {
        "seed_everything": 3,
        "method": "both",
        "env": {"class_path": "tests.helpers.tiny_engine.Tiny", "init_args": {"steps": 6}},
        "data": {"path": str(tiny_file), "k": 5, "batch_size": 64},
        "labels": {"n_pairs": 60, "labeller": {"class_path": "RuleLabeller", "init_args": {"flip": 0.1}}},
        "preference": {"class_path": "RewardModel", "init_args": {"mixer": "VDNMixer", "lr": 1e-3}},
        "value": {"alpha": 0.5, "network": network, "mixer": {"class_path": "HyperMixer", "init_args": {"hidden": 8}}},
        "policy": {"weighting": ["ByEpisode", {"class_path": "TopP", "init_args": {"top_p": 0.9}}]},
        "rollout": {"episodes": 4, "every_n_epochs": 1},
        "trainer": QUICK,
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    line = ["fit", "--config", str(tmp_path / "config.yaml"), "--run_dir"]
    assert main([*line, str(tmp_path / "line")]) == 0

    def same(run_dir: Path) -> Experiment:
        return experiment(
            run_dir,
            tiny_file,
            env=Tiny(steps=6),
            labels=Labels(RuleLabeller(flip=0.1), n_pairs=60),
            preference=RewardModel(mixer=VDNMixer, lr=1e-3),
            value=Value(mixer=partial(HyperMixer, hidden=8), network=partial(AgentMLP, hidden=(32, 16)), alpha=0.5),
            policy=Policy(weighting=[ByEpisode(), TopP(0.9)]),
            method="both",
            seed=3,
        )

    result = same(tmp_path / "python").fit()
    assert result is not None
    assert fingerprints(tmp_path / "python") == fingerprints(tmp_path / "line")
    one, other = columns(tmp_path / "python"), columns(tmp_path / "line")
    assert one.keys() == other.keys()
    assert all((one[name] == other[name]).all() for name in one)
    written = Result.read(tmp_path / "line").summary
    assert written["rollout"] == result.summary["rollout"]
    assert written["labels"] == result.summary["labels"]
    # Each goes on in the other's run directory.
    capsys.readouterr()
    same(tmp_path / "line").fit()
    assert main([*line, str(tmp_path / "python")]) == 0
    said = capsys.readouterr().out
    for run in ("line", "python"):
        for stage in STAGES:
            assert f"{stage}: up to date ({tmp_path / run / stage}), not trained again" in said
    # And the config that either writes down is a config of the same run.
    for run in ("line", "python"):
        assert main(["fit", "--config", str(tmp_path / run / "config.yaml"), "--run_dir", str(tmp_path / run)]) == 0
        assert capsys.readouterr().out.count("not trained again") == 4


def marks(made: Experiment) -> dict[str, str]:
    return made._prepare(made.stages, [], resume=False, replace=False).pipeline.marks.stages


AFTER_LABELS = set(STAGES)
AFTER_RANKING = {"discriminator", "value", "policy"}
CHANGES: list[tuple[str, Any, set[str]]] = [
    ("seed", 1, set(STAGES)),
    ("labels", Labels(n_pairs=50), AFTER_LABELS),
    ("labels", Labels(n_pairs=60, seed=1), AFTER_LABELS),
    ("labels", Labels(n_pairs=60, held_out=0.2), AFTER_LABELS),
    ("labels", Labels(OracleLabeller(), n_pairs=60), AFTER_LABELS),
    ("labels", Labels(RuleLabeller(flip=0.1), n_pairs=60), AFTER_LABELS),
    ("labels", Labels(n_pairs=60, path="elsewhere.jsonl"), set()),
    ("preference", OMAPL(beta=5.0), set(STAGES)),
    ("preference", RewardModel(), set(STAGES)),
    ("discriminator", Discriminator(patience=4), {"discriminator", "value", "policy"}),
    ("value", Value(alpha=10), {"value", "policy"}),
    ("value", CloneWeights(), {"value", "policy"}),
    ("policy", Policy(weighting=[ByEpisode()]), {"policy"}),
    ("policy", Policy(weight="local_weight"), {"policy"}),
    ("data", {"k": 6}, AFTER_RANKING),
    ("data", {"held_out": 0.2}, {"discriminator", "value", "policy"}),
    ("data", {"batch_size": 32}, {"discriminator", "value", "policy"}),
    ("data", {"ranking": "oracle"}, AFTER_RANKING),
    ("trainer", QUICK | {"max_epochs": 3}, set(STAGES)),
    ("trainer", QUICK | {"gradient_clip_val": 1.0}, set(STAGES)),
    ("trainer", QUICK | {"callbacks": [Callback()]}, set(STAGES)),
    ("trainer", QUICK | {"enable_progress_bar": True, "default_root_dir": "x", "logger": False}, set()),
    ("env", Tiny(task="follow"), set()),
    ("env", None, set()),
    ("rollout", Rollout(episodes=5, every_n_epochs=3), set()),
    ("method", "another", set()),
    ("run_dir", "elsewhere", set()),
    ("shared_stages", "shared", set()),
    ("trainer_config", QUICK, set()),
]


def test_every_argument_of_the_constructor_is_looked_at():
    assert {name for name, _, _ in CHANGES} == set(inspect.signature(Experiment).parameters)


@pytest.fixture(scope="module")
def before(tiny_file, tmp_path_factory) -> dict[str, str]:
    return marks(experiment(tmp_path_factory.mktemp("marks") / "run", tiny_file))


@pytest.mark.parametrize(
    ("name", "value", "changed"),
    CHANGES,
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value)[:30],
)
def test_an_argument_changes_what_depends_on_it(tiny_file, tmp_path, monkeypatch, before, name, value, changed):
    monkeypatch.chdir(tmp_path)
    if name == "data":
        value = Data(**{"path": str(tiny_file), "k": 5, "batch_size": 64} | value)
    (tmp_path / "run").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "shared").mkdir()
    given = {"run_dir": tmp_path / "run", "data": Data(str(tiny_file), k=5, batch_size=64)} | {name: value}
    after = marks(experiment(**given))
    assert {stage for stage in STAGES if after[stage] != before[stage]} == changed


def test_other_episodes_change_every_stage(tiny_file, tmp_path, before):
    other = tmp_path / "other.h5"
    collect(Tiny(), Tiny().default_sources(), other, seed=1)
    after = marks(experiment(tmp_path / "run", other))
    assert not [stage for stage in STAGES if after[stage] == before[stage]]
    moved = tmp_path / "moved.h5"
    shutil.copy(tiny_file, moved)
    assert marks(experiment(tmp_path / "run_2", moved)) == before


def test_the_policy_acts(finished, tiny_file):
    made, _ = finished
    episodes = Episodes.read(tiny_file)
    obs = torch.from_numpy(episodes.obs[:50])
    available = torch.from_numpy(episodes.available_actions[:50])
    actions = made.policy.act(obs, available)
    assert actions.shape == (50, 2)
    assert actions.dtype == torch.int64
    assert available.gather(-1, actions.unsqueeze(-1)).all()
    assert (made.policy.act(obs, available) == actions).all(), "greedy, and the same each time it is loaded"


def test_columns_and_result(finished, tiny_file):
    made, result = finished
    transitions = int(Episodes.read(tiny_file).length.sum())
    assert {"reward", "log_ratio", "weight"} <= set(made.columns)
    assert made.columns["weight"].shape == made.columns["log_ratio"].shape == (transitions,)
    assert made.columns["weight"].mean() == pytest.approx(1.0, abs=1e-4)
    with pytest.raises(KeyError):
        made.columns["absent"]
    assert made.result.summary == result.summary
    assert result.summary["method"] == "mine"
    assert len(result.summary["rollout"]["returns"]) == 4


def test_test_plays_what_fit_played(finished, capsys):
    made, result = finished
    played = made.test()
    assert played["returns"] == result.summary["rollout"]["returns"]
    assert "4 greedy rollouts" in capsys.readouterr().out
    assert made.validate() == played
    assert made.test(str(made.run.checkpoint("policy"))) == played
    with pytest.raises(MisodiceError, match=r"absent\.ckpt does not exist"):
        made.test("absent.ckpt")


def test_label_is_phase_1_and_fit_goes_on_from_it(tiny_file, tmp_path, capsys):
    made = experiment(tmp_path / "run", tiny_file)
    made.label(show=2)
    assert "not answered yet" in capsys.readouterr().out
    made.label(dry_run=True)
    assert "60 of 60 pairs" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()
    made.label()
    assert set(made.columns) == {"reward", "local_weight"}
    assert not (tmp_path / "run" / "discriminator").exists()
    capsys.readouterr()
    assert made.fit() is not None
    said = capsys.readouterr().out
    assert "labels: up to date" in said
    assert "preference: up to date" in said


def test_a_run_leaves_the_given_objects_as_they_are(tiny_file, tmp_path):
    stages = {"preference": OMAPL(), "discriminator": Discriminator(), "value": Value(), "policy": Policy()}
    callback = Callback()
    trainer = QUICK | {"callbacks": [callback]}
    kept = {name: (config_of(stage), set(vars(stage)), stage.training) for name, stage in stages.items()}
    first = experiment(tmp_path / "first", tiny_file, trainer=trainer, **stages)
    assert first.fit() is not None
    for name, stage in stages.items():
        assert (config_of(stage), set(vars(stage)), stage.training) == kept[name]
        assert not list(stage.parameters()), "no network was made in it"
        assert stage.spec is None
        assert stage._trainer is None
    assert trainer == QUICK | {"callbacks": [callback]}
    assert vars(callback) == {}
    # So they serve in a second run, on other data and with other sizes, as new ones do.
    other = tmp_path / "other.h5"
    collect(Tiny(), Tiny().default_sources(), other, seed=1)
    assert experiment(tmp_path / "used", other, **stages).fit() is not None
    assert experiment(tmp_path / "new", other).fit() is not None
    one, two = columns(tmp_path / "used"), columns(tmp_path / "new")
    assert all((one[name] == two[name]).all() for name in one)


class Nameless(Stage):
    """Made for no slot."""


class Mute(Stage):
    """A policy that cannot act."""

    name = "policy"


@pytest.mark.parametrize(
    ("slot", "stage", "words"),
    [
        (
            "preference",
            Discriminator(),
            "preference: Discriminator has the name 'discriminator', expected 'preference'",
        ),
        ("discriminator", Value(), "discriminator: Value has the name 'value'"),
        ("value", Policy(), "value: Policy has the name 'policy'"),
        ("value", Discriminator(), "value: Discriminator has the name 'discriminator'"),
        ("policy", CloneWeights(), "policy: CloneWeights has the name 'value'"),
        ("policy", Mute(), r"policy: Mute has no act\(obs, available_actions\)"),
    ],
)
def test_a_slot_refuses_a_stage_of_another(slot, stage, words):
    with pytest.raises(MisodiceError, match=words):
        Experiment(**{slot: stage})


def test_a_stage_without_a_name_is_refused():
    with pytest.raises(MisodiceError, match="value: Nameless has the name None"):
        Experiment(value=Nameless())


def test_wrong_words_are_refused_before_anything(tiny_file, tmp_path):
    made = experiment(tmp_path / "run", tiny_file)
    with pytest.raises(MisodiceError, match="retrain: unknown stage 'valu'"):
        made.fit(retrain="valu")
    assert not (tmp_path / "run").exists()
    with pytest.raises(MisodiceError, match="does not exist"):
        experiment(tmp_path / "run", tmp_path / "absent.h5").fit()
    with pytest.raises(MisodiceError, match="'local_weight'"):
        experiment(tmp_path / "run", tiny_file, preference=RewardModel(), policy=Policy(weight="local_weight")).fit()
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize("env", [{"engine": "my_simulator"}, {}])
def test_episodes_of_ones_own_simulator_train_without_an_environment(tiny_file, tmp_path, capsys, env):
    path = tmp_path / "mine.h5"
    shutil.copy(tiny_file, path)
    with h5py.File(path, "a") as file:
        file.attrs["env"] = json.dumps(env)
    made = experiment(tmp_path / "run", path, env=None)
    result = made.fit()
    assert result is not None
    assert capsys.readouterr().out.count("nothing is rolled out") == 1
    assert result.summary["rollout"] is None
    assert made.policy.act(torch.zeros(1, 2, 5), torch.ones(1, 2, 3, dtype=torch.bool)).shape == (1, 2)
    with pytest.raises(MisodiceError, match="nothing can be played"):
        made.test()


def test_public_names_come_when_they_are_asked_for():
    for name in misodice.__all__:
        assert getattr(misodice, name) is not None
    assert {"Experiment", "Episodes", "EpisodesWriter", "Policy", "Part"} <= set(dir(misodice))


class NoWeights(CloneWeights):
    """Forgets its column."""

    def predict_step(self, batch, batch_idx):
        return {"weights": batch.expert}


class Short(CloneWeights):
    """Leaves rows out."""

    def finish(self, columns):
        return {"weight": columns["weight"][1:]}


class Nowhere(CloneWeights):
    """Has no batches."""

    def datamodule(self, inputs):
        return [1, 2]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"value": Value}, ["value", "expected an object of the class Stage", "call it: Value(…)"]),
        ({"env": "SMAX"}, ["env: found 'SMAX'", "Engine"]),
        ({"data": "line.h5"}, ["data: found 'line.h5'", "Data"]),
        ({"seed": 0.5}, ["seed: found 0.5", "whole number"]),
        ({"labels": RuleLabeller()}, ["labels", "Labels"]),
    ],
    ids=["class", "env", "data", "seed", "labels"],
)
def test_an_argument_of_another_kind_is_refused_at_once(options, words):
    with pytest.raises(MisodiceError) as error:
        Experiment(**options)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Value(mixer=VDNMixer(2, 2)), ["value.mixer", "expected a class of Mixer"]),
        (lambda: Value(mixer="VDNMixer"), ["value.mixer: found 'VDNMixer'"]),
        (lambda: Discriminator(network=VDNMixer), ["discriminator.network", "Network"]),
        (lambda: OMAPL(mixer=partial(HyperMixer, hiden=4)), ["preference.mixer: HyperMixer has no option 'hiden'"]),
        (lambda: Policy(weighting=[ByEpisode]), ["policy.weighting", "list of Weighting objects"]),
        (lambda: Policy(weighting=TopP(0.5)), ["policy.weighting", "list of Weighting objects"]),
        (lambda: Policy(lr_schedule="linear"), ["Policy: lr_schedule is 'linear'", "'constant', 'cosine'"]),
        (lambda: Value(objective="foo"), ["Value: objective is 'foo'"]),
        (lambda: Data(ranking="best"), ["data.ranking: found 'best'", "'preference', 'return', 'oracle'"]),
    ],
    ids=range(9),
)
def test_an_option_of_another_kind_is_refused_at_once(make, words):
    with pytest.raises(MisodiceError) as error:
        make()
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"value": NoWeights()}, ["NoWeights.predict_step returned the keys ['weights']", "weight"]),
        ({"value": Short()}, ["column 'weight' of Short", "rows, one for each transition"]),
        ({"value": Nowhere()}, ["Nowhere.datamodule returned list, expected a StageData"]),
        ({"trainer": QUICK | {"max_epochs": 0}}, ["trainer.max_epochs: found 0", "expected a whole number"]),
    ],
    ids=["keys", "rows", "datamodule", "no epoch"],
)
def test_what_a_stage_does_wrong_is_one_error(tiny_file, tmp_path, options, words):
    data = Data(str(tiny_file), ranking="oracle", k=5, batch_size=64)
    with pytest.raises(MisodiceError) as error:
        experiment(tmp_path, data, **options).fit()
    assert all(word in str(error.value) for word in words), str(error.value)


def test_fit_goes_on_from_nothing_but_its_last_checkpoint(tiny_file, tmp_path):
    with pytest.raises(MisodiceError, match="ckpt_path: found 'first', expected 'last'"):
        experiment(tmp_path, tiny_file).fit(ckpt_path="first")
