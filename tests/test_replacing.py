"""A finished run, and answers that were paid for, are kept until the user says otherwise."""

import json
from pathlib import Path

import h5py
import pytest
import yaml

from misodice import (
    Data,
    Experiment,
    Labeller,
    Labels,
    MisodiceError,
    OracleLabeller,
    Policy,
    Rollout,
    RuleLabeller,
    Value,
    collect,
)
from misodice.cli.main import main
from misodice.data.preferences import Preferences
from tests.helpers.tiny_engine import Tiny

QUICK = {"max_epochs": 1, "enable_progress_bar": False}
ASKED: list[tuple[int, int]] = []


class Paid(Labeller):
    """Somebody who is asked once: each answer is noted."""

    def compare(self, episodes, first, second):
        ASKED.append((first, second))
        return "first" if episodes.length[first] > episodes.length[second] else "second"


def experiment(tiny_file: Path, run_dir: Path, **others) -> Experiment:
    given = {
        "env": Tiny(),
        "data": Data(str(tiny_file), k=5, batch_size=64),
        "labels": Labels(n_pairs=60),
        "rollout": Rollout(episodes=2, every_n_epochs=0),
        "trainer": QUICK,
        "run_dir": run_dir,
    }
    return Experiment(**given | others)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def other_episodes(folder: Path) -> Path:
    path = folder / "other.h5"
    collect(Tiny(), Tiny().default_sources(), path, seed=1)
    return path


def repacked(path: Path, folder: Path) -> Path:
    """The same content in other bytes."""
    copy = folder / "repacked.h5"
    with h5py.File(path) as old, h5py.File(copy, "w") as new:
        new.attrs.update(old.attrs)
        new.attrs["created_by"] = "another program"

        def put(name: str, item: h5py.Dataset | h5py.Group) -> None:
            if isinstance(item, h5py.Dataset):
                new.create_dataset(name, data=item[()], dtype=item.dtype, compression="gzip")

        old.visititems(put)
    assert copy.read_bytes() != path.read_bytes()
    return copy


def test_a_finished_run_is_replaced_only_on_demand(tiny_file, tmp_path, capsys):
    run = tmp_path / "run"
    experiment(tiny_file, run).fit()
    before = contents(run)
    for others, words in (
        ({"value": Value(alpha=0.5)}, ["value.alpha is 0.5, was 0.05"]),
        ({"data": Data(str(tiny_file), k=6, batch_size=32)}, ["data.k is 6, was 5", "data.batch_size is 32, was 64"]),
        ({"labels": Labels(OracleLabeller(), n_pairs=60)}, ["labels.labeller is misodice.labelling.oracle.Oracle"]),
        ({"seed": 1}, ["seed_everything is 1, was 0"]),
        ({"data": Data(str(other_episodes(tmp_path)), k=5, batch_size=64)}, [f"other episodes than {tiny_file}"]),
    ):
        with pytest.raises(MisodiceError, match="holds a finished run") as error:
            experiment(tiny_file, run, **others).fit()
        assert all(word in str(error.value) for word in [*words, "--run_dir", "--replace true"]), error.value
    with pytest.raises(MisodiceError, match=r"labels.n_pairs is 50, was 60"):
        experiment(tiny_file, run, labels=Labels(n_pairs=50)).label()
    assert contents(run) == before

    # What changes no policy is no question: another name of the same episodes, and how it is played.
    capsys.readouterr()
    same = experiment(tiny_file, run, data=Data(str(repacked(tiny_file, tmp_path)), k=5, batch_size=64))
    assert same.fit() is not None
    assert capsys.readouterr().out.count("not trained again") == 4
    assert (
        experiment(tiny_file, run, rollout=Rollout(episodes=3, every_n_epochs=0)).fit().summary["rollout"]["episodes"]
        == 3
    )

    result = experiment(tiny_file, run, value=Value(alpha=0.5)).fit(replace=True)
    assert result is not None
    assert yaml.safe_load((run / "config.yaml").read_text())["value"]["init_args"]["alpha"] == 0.5


def test_longer_training_goes_on_with_a_finished_run(tiny_file, tmp_path):
    run = tmp_path / "run"
    experiment(tiny_file, run).fit()
    longer = {"trainer": QUICK | {"max_epochs": 2}}
    with pytest.raises(MisodiceError, match=r"trainer.max_epochs is 2, was 1"):
        experiment(tiny_file, run, **longer).fit()
    assert experiment(tiny_file, run, **longer).fit(ckpt_path="last") is not None
    with pytest.raises(MisodiceError, match=r"policy.lr is"):
        experiment(tiny_file, run, trainer=QUICK, policy=Policy(lr=1e-2)).fit(ckpt_path="last")


def test_answers_of_another_labeller_stop_fit_until_the_user_chooses(tiny_file, tmp_path, capsys):
    run, alone = tmp_path / "run", tmp_path / "alone"
    ASKED.clear()
    paid = Labels(Paid(), n_pairs=30)
    experiment(tiny_file, run, labels=paid).label()
    assert len(ASKED) == 30
    assert "fit in place of label" in capsys.readouterr().out
    before = contents(run)
    for others in (Labels(n_pairs=30), Labels(OracleLabeller(), n_pairs=30), Labels(Paid(), n_pairs=31)):
        with pytest.raises(MisodiceError, match=r"preferences.jsonl: holds answers of Paid"):
            experiment(tiny_file, run, labels=others).fit()
    assert contents(run) == before

    used = experiment(tiny_file, run, labels=Labels(n_pairs=60, other_answers="use")).fit()
    assert len(ASKED) == 30, "nobody was asked"
    assert used.labels["labeller"] == "Paid"
    # As good as giving the options that made the answers.
    assert (
        json.loads((run / "summary.json").read_text())["fingerprint"]
        == (experiment(tiny_file, alone, labels=paid).fit().summary["fingerprint"])
    )
    saved = yaml.safe_load((run / "config.yaml").read_text())["labels"]
    assert saved["labeller"]["class_path"] == "tests.test_replacing.Paid"
    assert saved["n_pairs"] == 30

    anew = experiment(tiny_file, run, labels=Labels(n_pairs=30, other_answers="set_aside"))
    anew.fit(replace=True)
    [kept] = run.glob("preferences.*.jsonl")
    assert Preferences.read(kept).answer.tolist() == Preferences.read(alone / "preferences.jsonl").answer.tolist()
    assert json.loads((run / "preferences.jsonl").read_text().splitlines()[0])["made_by"]["n_pairs"] == 30


def test_answers_outlive_a_file_of_other_bytes(tiny_file, tmp_path):
    run, again = tmp_path / "run", repacked(tiny_file, tmp_path)
    ASKED.clear()
    for path in (tiny_file, again):
        experiment(path, run, labels=Labels(Paid(), n_pairs=30)).label()
    assert len(ASKED) == 30


def test_answers_to_other_episodes_cannot_be_used(tiny_file, tmp_path):
    run = tmp_path / "run"
    experiment(tiny_file, run, labels=Labels(Paid(), n_pairs=30)).label()
    others = Data(str(other_episodes(tmp_path)), k=5, batch_size=64)
    with pytest.raises(MisodiceError, match="answers of Paid to pairs of other episodes"):
        experiment(tiny_file, run, data=others, labels=Labels(Paid(), n_pairs=30)).label()
    with pytest.raises(MisodiceError, match="cannot be used"):
        experiment(tiny_file, run, data=others, labels=Labels(n_pairs=30, other_answers="use")).label()


def test_free_answers_with_other_options_are_no_question(tiny_file, tmp_path):
    run = tmp_path / "run"
    experiment(tiny_file, run, labels=Labels(n_pairs=30)).label()
    experiment(tiny_file, run, labels=Labels(RuleLabeller(flip=0.2), n_pairs=40)).label()
    assert len(list(run.glob("preferences*.jsonl"))) == 2


def test_a_path_of_answers_in_a_folder_that_is_not_there(tiny_file, tmp_path):
    with pytest.raises(MisodiceError, match=r"labels.path: the folder .*absent does not exist"):
        experiment(
            tiny_file, tmp_path / "run", labels=Labels(n_pairs=60, path=str(tmp_path / "absent" / "p.jsonl"))
        ).label()
    assert not (tmp_path / "absent").exists()


def test_two_configs_of_one_file_name(tiny_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    common = {
        "env": {"class_path": "tests.helpers.tiny_engine.Tiny"},
        "labels": {"n_pairs": 60},
        "rollout": {"episodes": 2, "every_n_epochs": 0},
        "trainer": QUICK,
    }
    for name, k in (("A", 5), ("B", 6)):
        Path(name).mkdir()
        config = common | {"data": {"path": str(tiny_file), "k": k, "batch_size": 64}}
        Path(name, "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", "A/config.yaml"]) == 0
    before = contents(Path("runs"))
    assert main(["fit", "--config", "B/config.yaml"]) == 2
    assert "runs/config/misodice/seed_0: holds a finished run of other options (data.k is 6, was 5)" in (
        capsys.readouterr().err
    )
    assert contents(Path("runs")) == before
    # The saved config is complete: from any folder it finds the run's data.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    saved = tmp_path / "runs" / "config" / "misodice" / "seed_0" / "config.yaml"
    assert main(["fit", "--config", str(saved), "--run_dir", str(saved.parent)]) == 0
    assert capsys.readouterr().out.count("not trained again") == 4
    # One folder for each value of a sweep.
    for alpha in ("0.1", "0.5"):
        assert main(["fit", "--config", str(saved), "--run_dir", f"sweep/{alpha}", "--value.alpha", alpha]) == 0
    assert len({Path("sweep", alpha, "policy", "last.ckpt").read_bytes() for alpha in ("0.1", "0.5")}) == 2
