"""`misodice convert`: every layout by the real command, and what is wrong refused by name."""

import importlib.util
import json
import os
import pickle
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from misodice.cli.main import main
from misodice.conversion import convert
from misodice.data.episodes import Episode, Episodes
from misodice.data.importers import og_marl
from misodice.data.preferences import Preferences
from misodice.envs import MaMuJoCo, StarCraft2
from misodice.envs.starcraft2.features import smacv2_features
from misodice.errors import MisodiceError
from misodice.rollout.actors import PolicyActor
from tests.helpers.cli import fit
from tests.helpers.foreign import (
    experience,
    make_episodes,
    nested,
    padded,
    write_comadice,
    write_omapl,
    write_omiga,
    write_omiga_smac,
    write_vault,
)
from tests.helpers.tiny_engine import Tiny

LENGTHS = [4, 7, 1, 9]
MARINES = StarCraft2("5m_vs_6m")
HOPPER = MaMuJoCo("Hopper", "3x1")
TO_MARINES = ("--env", "StarCraft2", "--env.task", "5m_vs_6m")
TO_HOPPER = ("--env", "MaMuJoCo", "--env.task", "Hopper")
TO_ANT = ("--env", "MaMuJoCo", "--env.task", "Ant", "--env.partition", "2x4")
PAIRS = [(0, 1), (2, 3), (1, 3), (0, 1)]


@pytest.fixture(scope="module")
def discrete() -> list[Episode]:
    return make_episodes(0, LENGTHS, discrete=True)


@pytest.fixture(scope="module")
def hopper() -> list[Episode]:
    return make_episodes(1, LENGTHS, discrete=False, n=3, obs=14, actions=1)


def run(path: Path, output: Path, *more: str, status: int = 0) -> None:
    assert main(["convert", "--input", str(path), "--output", str(output), *more]) == status


def assert_same(found: Episode, expected: Episode, last_is_kept: bool = True, scale: float = 1.0) -> None:
    """All that a layout can hold of an episode is there."""
    rows = slice(None) if last_is_kept else slice(-1)
    for name in ("obs", "state", "available_actions"):
        if getattr(expected, name) is not None:
            np.testing.assert_array_equal(getattr(found, name)[rows], getattr(expected, name)[rows], name)
    if found.available_actions is None:
        np.testing.assert_allclose(found.actions * scale, expected.actions, rtol=1e-6)
    else:
        np.testing.assert_array_equal(found.actions, expected.actions)
    np.testing.assert_allclose(found.rewards, expected.rewards, rtol=1e-6)
    if last_is_kept:
        np.testing.assert_array_equal(found.terminated, expected.terminated)
        np.testing.assert_array_equal(found.truncated, expected.truncated)
    else:
        assert found.terminated.tolist() == [False] * (len(found) - 1) + [True]
        for name in ("obs", "state"):
            np.testing.assert_array_equal(getattr(found, name)[-1], getattr(found, name)[-2], name)


# --- the layouts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}], ids=["plain", "gzip"])
def test_omapl(discrete, tmp_path, capsys, options):
    path = write_omapl(tmp_path / "zerg.h5", discrete, [*PAIRS, (3, 3)], [1, 0, 0.5, 0, 1], **options)
    with h5py.File(path, "a") as file:
        file.attrs["algorithm"] = "qmix"
    run(path, tmp_path / "out.h5", *TO_MARINES, "--source", "poor")
    assert "left out: 1 pairs of an episode with itself" in capsys.readouterr().err
    episodes = Episodes.read(tmp_path / "out.h5")
    assert episodes.length.tolist() == LENGTHS  # each once, though they stand in several pairs
    for found, expected in zip(episodes, discrete, strict=True):
        assert_same(found, expected)
    assert set(episodes.source) == {"poor"}
    assert episodes.header.env["engine"] == "starcraft2"
    assert episodes.header.env["converted"] == {"from": "omapl", "last_observation": "kept"}
    assert "qmix" in episodes.header.created_by
    preferences = Preferences.read(tmp_path / "out.preferences.jsonl")
    assert preferences.pairs.tolist() == [list(pair) for pair in PAIRS]
    assert preferences.answer.tolist() == [0, 1, -1, 1]
    assert main(["info", "--path", str(tmp_path / "out.h5")]) == 0
    shown = capsys.readouterr().out
    assert "starcraft2" in shown
    assert "21" in shown


def test_omapl_pairs_of_padding_alone_are_left_out(discrete, tmp_path, capsys):
    path = write_omapl(tmp_path / "zerg.h5", discrete, PAIRS, [1, 0, 1, 0])
    with h5py.File(path, "a") as file:
        file["actives_y"][1] = 0
    run(path, tmp_path / "out.h5", *TO_MARINES)
    assert "left out: 1 pairs with an episode of no step" in capsys.readouterr().err
    assert len(Preferences.read(tmp_path / "out.preferences.jsonl").pairs) == 3


@pytest.mark.parametrize("agents", [False, True], ids=["v2", "v1"])
def test_comadice_discrete(discrete, tmp_path, agents):
    path = write_comadice(tmp_path / "zerg.npz", discrete, agents=agents)
    run(path, tmp_path / "out.h5", *TO_MARINES)
    for found, expected in zip(Episodes.read(tmp_path / "out.h5"), discrete, strict=True):
        assert_same(found, expected)


@pytest.mark.parametrize(("scale", "kept"), [(1.0, 1.0), (3.5, 4.0), (6.0, 6.0)])
def test_comadice_continuous_keeps_the_scale(hopper, tmp_path, scale, kept):
    path = write_comadice(tmp_path / "Hopper-v2-3x1-expert.npz", hopper, scale=scale)
    run(path, tmp_path / "out.h5", *TO_HOPPER)
    episodes = Episodes.read(tmp_path / "out.h5")
    assert episodes.header.action_scale == kept
    assert np.abs(episodes.actions).max() <= 1
    for found, expected in zip(episodes, hopper, strict=True):
        assert_same(found, expected, scale=kept / scale)


def test_omiga(hopper, tmp_path, capsys):
    path = write_omiga(tmp_path / "Hopper-v2-3x1-expert.hdf5", hopper, tail=2)
    run(path, tmp_path / "out.h5", *TO_HOPPER, "--source", "expert")
    said = capsys.readouterr().err
    assert "left out: 1 episode that the file's end cuts off (2 rows)" in said
    assert "nothing bootstraps" in said
    episodes = Episodes.read(tmp_path / "out.h5")
    assert episodes.header.env["converted"]["last_observation"] == "repeated"
    for found, expected in zip(episodes, hopper, strict=True):
        assert_same(found, expected, last_is_kept=False)
    assert main(["info", "--path", str(tmp_path / "out.h5")]) == 0
    assert "42" in capsys.readouterr().out  # n × O, as in the files


def test_omiga_smac_episodes(discrete, tmp_path):
    run(write_omiga_smac(tmp_path / "good", discrete), tmp_path / "out.h5", *TO_MARINES)
    for found, expected in zip(Episodes.read(tmp_path / "out.h5"), discrete, strict=True):
        assert_same(found, expected, last_is_kept=False)


class Malicious:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize(
    "save", [torch.save, lambda x, path: path.write_bytes(pickle.dumps(x))], ids=["torch", "pickle"]
)
def test_a_malicious_pickle_is_refused_and_does_not_run(discrete, tmp_path, capsys, save):
    folder = tmp_path / "good"
    folder.mkdir()
    episode = nested(discrete[0])
    episode[0][0][0] = Malicious(tmp_path / "it_ran")
    save(episode, folder / "episode_0")
    run(folder, tmp_path / "out.h5", *TO_MARINES, status=2)
    assert "episode_0" in capsys.readouterr().err
    assert not (tmp_path / "it_ran").exists()
    assert not (tmp_path / "out.h5").exists()
    pickle.loads(pickle.dumps(Malicious(tmp_path / "it_ran")))
    assert (tmp_path / "it_ran").exists()  # it would have


def test_an_array_of_objects_is_refused(tmp_path, capsys):
    folder = tmp_path / "good"
    folder.mkdir()
    torch.save([[[np.array([object], dtype=object)]]], folder / "episode_0")
    run(folder, tmp_path / "out.h5", status=2)
    assert "refused" in capsys.readouterr().err


def one_block(arrays):
    return [arrays]


def in_blocks(arrays, size=5):
    steps = arrays["actions"].shape[1]
    return [{name: values[:, i : i + size] for name, values in arrays.items()} for i in range(0, steps, size)]


@pytest.mark.parametrize("blocks", [one_block, in_blocks])
@pytest.mark.parametrize("kind", [True, False], ids=["discrete", "continuous"])
def test_og_marl_experience_is_cut_at_its_ends(blocks, kind):
    expected = make_episodes(2, LENGTHS, discrete=kind)
    arrays = experience(expected)
    og_marl.check_structure("x", {name: values.shape for name, values in arrays.items()})
    skipped: Counter[str] = Counter()
    cut_off = {name: np.concatenate([values, values[:, :2]], axis=1) for name, values in arrays.items()}
    found = list(og_marl.cut("x", blocks(cut_off), skipped))
    for episode, other in zip(found, expected, strict=True):
        assert_same(episode, other, last_is_kept=False)
        assert episode.truncated.tolist() == other.truncated.tolist()
    assert list(skipped) == ["episode that the vault's end cuts off (2 steps)"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a.pop("infos.state"), "infos.state"),
        (lambda a: a.pop("infos.legals"), "infos.legals"),
        (lambda a: a.update(rewards=a["rewards"][..., :2]), "rewards"),
        (lambda a: a.update(observations=a["observations"][0]), "observations"),
    ],
)
def test_og_marl_structure_is_checked(discrete, change, words):
    arrays = experience(discrete)
    change(arrays)
    with pytest.raises(MisodiceError, match=words):
        og_marl.check_structure("x", {name: values.shape for name, values in arrays.items()})


@pytest.mark.skipif(importlib.util.find_spec("flashbax") is None, reason="needs flashbax (extra og-marl)")
def test_og_marl_vault(discrete, tmp_path, capsys):
    path = write_vault(tmp_path / "5m_vs_6m.vlt" / "Good", experience(discrete))
    run(path, tmp_path / "out.h5", *TO_MARINES)
    for found, expected in zip(Episodes.read(tmp_path / "out.h5"), discrete, strict=True):
        assert_same(found, expected, last_is_kept=False)
    run(path.parent, tmp_path / "out.h5", status=2)
    assert "Good" in capsys.readouterr().err


def test_og_marl_says_what_is_missing(discrete, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "flashbax.vault", None)
    folder = tmp_path / "5m_vs_6m.vlt" / "Good"
    folder.mkdir(parents=True)
    shapes = {name: str(values.shape) for name, values in experience(discrete).items()}
    infos = {name.removeprefix("infos."): shapes.pop(name) for name in list(shapes) if name.startswith("infos.")}
    (folder / "metadata.json").write_text(json.dumps({"version": 1.2, "structure_shape": {**shapes, "infos": infos}}))
    run(folder, tmp_path / "out.h5", status=2)
    assert "misodice[og-marl]" in capsys.readouterr().err


@pytest.mark.parametrize("by_command", [True, False], ids=["command", "python"])
def test_an_importer_of_a_users_own(tmp_path, by_command):
    path = tmp_path / "team.jsonl"
    own = make_episodes(6, LENGTHS, discrete=True, n=2, obs=5, actions=3)
    lines = [{"obs": e.obs.tolist(), "actions": e.actions.tolist(), "rewards": e.rewards.tolist()} for e in own]
    path.write_text("\n".join(map(json.dumps, lines)))
    name = "tests.helpers.tiny_importer.JsonImporter"
    if by_command:
        run(path, tmp_path / "out.h5", "--env", "tests.helpers.tiny_engine.Tiny", "--format", name, "--source", "me")
    else:
        convert(path, tmp_path / "out.h5", Tiny(), "me", name)
    episodes = Episodes.read(tmp_path / "out.h5")
    for found, expected in zip(episodes, own, strict=True):
        np.testing.assert_array_equal(found.obs, expected.obs)
        np.testing.assert_array_equal(found.actions, expected.actions)
    assert set(episodes.source) == {"me"}
    assert episodes.header.env["engine"] == "tiny"
    assert episodes.header.env["converted"] == {"from": "json_lines", "last_observation": "kept"}
    assert episodes.header.obs_features[:2] == ["shown_0", "shown_1"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("csv", "format 'csv': expected auto, omapl, comadice, omiga, omiga_smac, og_marl, or the class path"),
        ("tests.helpers.tiny_importer.None_", "format: .* cannot be imported"),
        ("tests.helpers.tiny_engine.Tiny", r"expected a subclass of misodice\.data\.importers\.base\.Importer"),
    ],
)
def test_an_importer_that_is_none_is_said(tmp_path, name, words):
    (tmp_path / "a").touch()
    with pytest.raises(MisodiceError, match=words):
        convert(tmp_path / "a", tmp_path / "out.h5", format=name)


def test_without_an_engine_discrete_data_are_the_games_and_others_are_bodies(discrete, hopper, tmp_path):
    convert(write_comadice(tmp_path / "a.npz", discrete), tmp_path / "a.h5")
    convert(write_comadice(tmp_path / "b.npz", hopper), tmp_path / "b.h5")
    found = [Episodes.read(tmp_path / f"{name}.h5").header.env for name in "ab"]
    assert [(env["engine"], env["task"]) for env in found] == [("starcraft2", "zerg_5_vs_5"), ("mamujoco", "Hopper")]


# --- into the environment ------------------------------------------------------------------------------------------


def test_ants_actuators_are_put_in_the_environments_order(tmp_path):
    ant = make_episodes(3, [5, 6], discrete=False, n=2, obs=113, actions=4)
    run(write_omiga(tmp_path / "ant.hdf5", ant), tmp_path / "out.h5", *TO_ANT)
    episodes = Episodes.read(tmp_path / "out.h5")
    env = MaMuJoCo("Ant", "2x4").make(1)
    body = env._bodies.envs[0]  # type: ignore[attr-defined]
    for found, expected in zip(episodes, ant, strict=True):
        for step in range(len(found)):
            joint = dict(zip(body.possible_agents, found.actions[step], strict=True))
            np.testing.assert_array_equal(
                body.map_local_actions_to_global_action(joint), expected.actions[step].ravel()
            )
    env.close()


def test_smacv2s_features_have_the_papers_sizes():
    paper = {"protoss_5_vs_5": (92, 130), "terran_10_vs_11": (170, 306), "zerg_20_vs_23": (346, 858)}
    for task, sizes in paper.items():
        names = smacv2_features(task)
        assert names is not None
        assert tuple(len(set(part)) for part in names) == sizes
    assert names[1][:7] == [f"ally_0.{what}" for what in ("health", "weapon_cooldown", "rel_x", "rel_y")] + [
        f"ally_0.{kind}" for kind in ("zergling", "hydralisk", "baneling")
    ]
    assert smacv2_features("5m_vs_6m") is None


def test_names_are_known_without_the_game_and_describe_the_units(tmp_path, capsys):
    zerg = make_episodes(4, [5, 6], discrete=True, n=5, obs=24, actions=11)
    zerg = [Episode(**{**vars(e), "obs": np.zeros((len(e) + 1, 5, 82), np.float32)}) for e in zerg]
    run(write_comadice(tmp_path / "zerg.npz", zerg), tmp_path / "out.h5", "--env", "StarCraft2")
    header = Episodes.read(tmp_path / "out.h5").header
    assert (header.obs_features[0], header.state_features[7]) == ("own.can_move_north", "ally_1.health")
    assert "warning" not in capsys.readouterr().err


def test_other_sizes_than_the_environments_are_told(discrete, tmp_path, capsys):
    run(write_comadice(tmp_path / "zerg.npz", discrete), tmp_path / "out.h5", "--env", "StarCraft2")
    assert "observation size is 4 in the file and 82" in capsys.readouterr().err


def test_fit_runs_on_hopper_as_it_stands(hopper_file, tmp_path):
    """Real episodes by way of O-MAPL's layout, with its preferences and four times greater actions."""
    real = list(Episodes.read(hopper_file))
    fields = [Episode(**{**vars(e), "actions": e.actions * 4, "rewards": e.rewards}) for e in real]
    pairs = [(i, j) for i in range(len(real)) for j in range(i)][:60]
    labels = [float(real[i].rewards.sum() > real[j].rewards.sum()) for i, j in pairs]
    path = write_omapl(tmp_path / "Hopper.h5", fields, pairs, labels, compression="lzf")
    run(path, tmp_path / "out.h5", *TO_HOPPER)
    answers = str(tmp_path / "out.preferences.jsonl")
    recorded = ["--labels.labeller", "RecordedLabeller", "--labels.labeller.path", answers]
    fit(tmp_path / "run", tmp_path / "out.h5", *recorded, config="mamujoco_hopper")
    kept = Preferences.read(tmp_path / "run" / "preferences.jsonl")
    assert kept.pairs.tolist() == Preferences.read(answers).pairs.tolist()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["labels"]["labeller"] == "RecordedLabeller"
    assert np.isfinite(summary["rollout"]["return_mean"])

    from misodice.modules import Policy

    policy = Policy.load_from_checkpoint(tmp_path / "run/policy/last.ckpt", map_location="cpu", weights_only=True)
    assert policy.spec.action_scale == 4
    obs = torch.from_numpy(real[0].obs[:5])
    greedy = policy.head.greedy(policy(obs), None).detach()
    np.testing.assert_allclose(PolicyActor(policy).act({"obs": real[0].obs[:5]}), 4 * greedy, rtol=1e-6)


def test_answers_of_other_episodes_are_refused(discrete, tmp_path, capsys, hopper_file):
    path = write_omapl(tmp_path / "zerg.h5", discrete, PAIRS, [1, 0, 1, 0])
    run(path, tmp_path / "out.h5", *TO_MARINES)
    recorded = [
        "--labels.labeller",
        "RecordedLabeller",
        "--labels.labeller.path",
        str(tmp_path / "out.preferences.jsonl"),
    ]
    fit(tmp_path / "run", hopper_file, *recorded, config="mamujoco_hopper", status=2)
    assert "number the episodes otherwise" in capsys.readouterr().err


def test_fit_says_why_it_cannot_without_the_game(discrete, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SC2PATH", str(tmp_path / "nowhere"))
    run(write_comadice(tmp_path / "zerg.npz", discrete), tmp_path / "out.h5", *TO_MARINES)
    fit(
        tmp_path / "run", tmp_path / "out.h5", "--env.task", "5m_vs_6m", "--data.k", "2", config="smacv2_zerg", status=2
    )
    assert "starcraft2" in capsys.readouterr().err.lower()


def test_files_of_two_scales_are_not_mixed(hopper, tmp_path, capsys):
    for name, scale in (("a", 1.0), ("b", 3.0)):
        run(write_comadice(tmp_path / f"{name}.npz", hopper, scale), tmp_path / f"{name}.h5", *TO_HOPPER)
    files = [str(tmp_path / f"{name}.h5") for name in "ab"]
    assert main(["mix", "--inputs", json.dumps(files), "--output", str(tmp_path / "union.h5")]) == 2
    assert "--action_scale" in capsys.readouterr().err
    run(tmp_path / "a.npz", tmp_path / "a.h5", *TO_HOPPER, "--action_scale", "4", "--overwrite", "true")
    assert main(["mix", "--inputs", json.dumps(files), "--output", str(tmp_path / "union.h5")]) == 0
    assert Episodes.read(tmp_path / "union.h5").header.action_scale == 4


def test_outputs_are_not_replaced_without_a_word(discrete, tmp_path, capsys):
    path = write_omapl(tmp_path / "zerg.h5", discrete, PAIRS, [1, 0, 1, 0])
    run(path, tmp_path / "out.h5", *TO_MARINES)
    before = {name: (tmp_path / name).read_bytes() for name in ("out.h5", "out.preferences.jsonl")}
    capsys.readouterr()
    run(path, tmp_path / "out.h5", *TO_MARINES, status=2)
    assert "out.h5: exists already" in capsys.readouterr().err
    (tmp_path / "out.h5").unlink()
    run(path, tmp_path / "out.h5", *TO_MARINES, status=2)
    assert "out.preferences.jsonl: exists already" in capsys.readouterr().err
    assert not (tmp_path / "out.h5").exists()
    run(path, tmp_path / "out.h5", *TO_MARINES, "--overwrite", "true")
    assert (tmp_path / "out.preferences.jsonl").read_bytes() == before["out.preferences.jsonl"]


# --- what is wrong -------------------------------------------------------------------------------------------------


def put(name: str, index: object, value: object):
    def change(fields: dict[str, np.ndarray]) -> None:
        fields[name] = fields[name].astype(np.float64)
        fields[name][index] = value

    return change


PADDED = [
    (lambda f: f.pop("obs"), ["obs", "no such array"]),
    (lambda f: f.pop("avails"), ["avails", "nothing"]),
    (lambda f: f.update(obs=f["obs"][:, :-1]), ["obs", "[11, any, any]"]),
    (lambda f: f.update(states=f["states"][:, :-1]), ["states"]),
    (lambda f: f.update(rewards=f["rewards"][:2]), ["rewards", "2 episodes", "4"]),
    (lambda f: f.update(actions=f["actions"][:, :, :2]), ["actions"]),
    (lambda f: f.update(obs=f["obs"].astype(str)), ["obs", "numbers"]),
    (lambda f: f.update(obs=f["obs"].astype(object)), ["obs"]),
    (lambda f: f.update(actives=np.zeros_like(f["actives"])), ["no episode of at least one step"]),
    (put("obs", (1, 2, 0, 0), np.nan), ["episode 1", "obs", "nan at [2, 0, 0]"]),
    (put("states", (1, 2, 0), 1e300), ["episode 1", "states", "1e+300"]),
    (put("rewards", (1, 2), np.inf), ["rewards", "inf"]),
    (put("actions", (1, 2, 0), 9), ["episode 1", "actions", "0 to 4"]),
    (put("actions", (1, 2, 0), 0.5), ["actions", "whole numbers"]),
    (put("avails", (1, 2), 0), ["which the mask forbids", "step 2"]),
    (put("avails", (1, 2), 7), ["avails", "0 or 1"]),
    (put("actives", (1, 2), 0), ["actives", "a gap"]),
    (put("dones", (1, 2), 1), ["dones", "an end at step 2"]),
]


@pytest.mark.parametrize(("change", "words"), PADDED)
def test_a_fault_is_refused_by_name(discrete, tmp_path, change, words):
    fields = padded(discrete)
    change(fields)
    np.savez(tmp_path / "bad.npz", **fields)
    with pytest.raises(MisodiceError) as caught:
        convert(tmp_path / "bad.npz", tmp_path / "out.h5", MARINES)
    message = str(caught.value)
    assert all(word in message for word in [str(tmp_path / "bad.npz"), *words]), message
    assert [path.name for path in tmp_path.iterdir()] == ["bad.npz"]


STREAM = [
    (lambda f: f.pop("a"), ["a:", "no such dataset"]),
    (lambda f: f.update(r=f["r"][:-1]), ["r:", "rows"]),
    (lambda f: f.update(d=f["d"] * 0), ["d:", "no row with 1"]),
    (put("a", -1, 0.3), ["d:", "delimiter row"]),
    (put("o", (2, 0, 0), np.nan), ["episode 0", "o:", "nan"]),
    (put("d", 1, 0.5), ["d:", "0.5"]),
]


@pytest.mark.parametrize(("change", "words"), STREAM)
def test_a_fault_in_a_stream_is_refused_by_name(hopper, tmp_path, change, words):
    path = write_omiga(tmp_path / "bad.hdf5", hopper)
    with h5py.File(path, "a") as file:
        fields = {name: file[name][:] for name in file}
        change(fields)
        for name in "soard":
            del file[name]
        for name, values in fields.items():
            file[name] = values
    with pytest.raises(MisodiceError) as caught:
        convert(path, tmp_path / "out.h5", HOPPER, format="omiga")
    message = str(caught.value)
    assert all(word in message for word in [str(path), *words]), message
    assert [path.name for path in tmp_path.iterdir()] == ["bad.hdf5"]


@pytest.mark.parametrize(
    ("label", "words"), [(2.0, ["labels", "2.0", "0.5 (neither)"]), (np.nan, ["labels", "nan"])], ids=str
)
def test_labels_are_checked(discrete, tmp_path, label, words):
    path = write_omapl(tmp_path / "bad.h5", discrete, PAIRS, [1, 0, label, 0])
    with pytest.raises(MisodiceError) as caught:
        convert(path, tmp_path / "out.h5", MARINES)
    assert all(word in str(caught.value) for word in words)


def test_what_needs_no_conversion_or_cannot_be_converted(discrete, hopper, tmp_path, capsys):
    npz = write_comadice(tmp_path / "x.npz", discrete)
    convert(npz, tmp_path / "own.h5", MARINES)
    more = {
        tmp_path / "own.h5": "already",
        tmp_path / "none": "no such file",
        Path(__file__): "expected one of the layouts",
        Path(__file__).parent: "a folder of",
    }
    for path, words in more.items():
        run(path, tmp_path / "out.h5", status=2)
        assert words in capsys.readouterr().err
    run(npz, npz, status=2)
    assert "itself" in capsys.readouterr().err
    run(npz, tmp_path / "out.h5", "--env", "MaMuJoCo", status=2)
    assert "discrete" in capsys.readouterr().err
    continuous = write_comadice(tmp_path / "y.npz", hopper, scale=3)
    run(continuous, tmp_path / "out.h5", "--env", "MaMuJoCo", "--env.task", "HalfCheetah", status=2)
    assert "3 agents with 1" in capsys.readouterr().err
    run(continuous, tmp_path / "out.h5", *TO_HOPPER, "--action_scale", "2", status=2)
    assert "--action_scale" in capsys.readouterr().err
    assert not (tmp_path / "out.h5").exists()
