"""`misodice export` of small trained policies of every head, in every format."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from misodice import export as package
from misodice.cli.main import main
from misodice.envs.mamujoco.bodies import Bodies
from misodice.envs.mamujoco.env import MamujocoEnv
from misodice.errors import MisodiceError
from misodice.export import export
from misodice.export.agent import one_agent
from misodice.export.check import compare, random_samples
from misodice.modules import Policy
from tests.helpers.cli import CONFIGS, fit

HEADS = {"categorical": "smacv2_zerg", "normal": "mamujoco_hopper", "tanh_normal": "mamujoco_hopper"}
FORMATS = {"onnx": "last.onnx", "torchscript": "last.pt", "pt2": "last.pt2"}


@pytest.fixture(scope="module")
def checkpoints(smax_file, hopper_file, tmp_path_factory):
    """The checkpoint of a policy with each head."""
    made = {}
    for head, config in HEADS.items():
        run = tmp_path_factory.mktemp("runs") / head
        bc = ["--config", str(CONFIGS / "methods" / "bc_0.yaml")]
        options = [] if head == "categorical" else ["--policy.distribution", head]
        fit(run, smax_file if head == "categorical" else hopper_file, *bc, *options, config=config)
        made[head] = run / "policy" / "last.ckpt"
    return made


@pytest.fixture
def hopper_onnx(checkpoints, tmp_path):
    path, _ = export(checkpoints["normal"], "onnx", tmp_path / "hopper.onnx")
    return path


def policy_of(path):
    return Policy.load_from_checkpoint(path, map_location="cpu", weights_only=True)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("format", FORMATS)
def test_an_export_is_checked_and_named_after_its_checkpoint(checkpoints, head, format, capfd, recwarn):
    path = checkpoints[head].with_name(FORMATS[format])
    assert main(["export", "--ckpt_path", str(checkpoints[head]), "--format", format]) == 0
    said = capfd.readouterr()
    rows = 1000 * policy_of(checkpoints[head]).spec.n_agents
    found = re.fullmatch(
        rf"written: {path} \(on {rows} random inputs: outputs differ by at most (\S+), "
        r"(\S+)% of greedy actions are equal\)\n",
        said.out,
    )
    assert found, said.out
    assert float(found[1]) < 1e-5
    assert float(found[2]) > 99.9
    assert said.err == ""
    assert not recwarn.list
    assert not list(path.parent.glob(".*tmp*"))


@pytest.mark.parametrize("head", HEADS)
def test_onnxruntime_acts_as_the_team_does(checkpoints, head, tmp_path):
    """Against `Policy.act`, which rollouts use; agents in any order, one row and many."""
    policy = policy_of(checkpoints[head])
    path, _ = export(checkpoints[head], "onnx", tmp_path / "policy.onnx")
    session = onnxruntime.InferenceSession(path)
    n, draw = policy.spec.n_agents, torch.Generator().manual_seed(1)
    obs = torch.randn((50, n, policy.spec.obs_dim), generator=draw)
    available = None
    if policy.spec.discrete:
        available = torch.rand((50, n, policy.spec.n_actions), generator=draw) < 0.3
        available[..., 4] = True
    expected = policy.act(obs, available).numpy()
    for team in range(50):
        order = np.random.default_rng(team).permutation(n)
        for agents in (order, order[:1]):
            inputs = {"observation": obs[team, agents].numpy(), "agent_id": agents}
            if available is not None:
                inputs["available_actions"] = available[team, agents].numpy()
            action, *distribution = session.run(None, inputs)
            if available is None:
                mean, deviation = distribution
                assert np.allclose(action, expected[team, agents], atol=1e-5)
                assert np.allclose(action, np.tanh(mean) if head == "tanh_normal" else mean.clip(-1, 1), atol=1e-5)
                assert (deviation > 0).all()
            else:
                assert (action == expected[team, agents]).all()
                assert np.allclose(distribution[0].sum(axis=1), 1, atol=1e-5)
                assert (distribution[0][~inputs["available_actions"]] == 0).all()


def test_actions_are_in_the_environment_s_scale(checkpoints, tmp_path):
    kept = torch.load(checkpoints["normal"], weights_only=True)
    kept["spec"]["action_scale"] = 4.0
    torch.save(kept, tmp_path / "scaled.ckpt")
    policy = policy_of(tmp_path / "scaled.ckpt")
    path, _ = export(tmp_path / "scaled.ckpt", "onnx", tmp_path / "policy.onnx")
    obs = 5 * torch.randn((20, policy.spec.n_agents, policy.spec.obs_dim), generator=torch.Generator().manual_seed(1))
    expected = policy.act(obs, None).flatten(0, 1).numpy()
    inputs = {"observation": obs.flatten(0, 1).numpy(), "agent_id": np.tile(np.arange(policy.spec.n_agents), 20)}
    action = onnxruntime.InferenceSession(path).run(["action"], inputs)[0]
    assert np.allclose(action, expected, atol=1e-4)
    assert np.abs(expected).max() > 1


def test_the_file_says_what_it_is_of(checkpoints, tmp_path):
    found = {}
    for format in FORMATS:
        path, _ = export(checkpoints["categorical"], format, tmp_path / f"policy.{format}")
        if format == "onnx":
            model = onnx.load(path)
            found[format] = {entry.key: entry.value for entry in model.metadata_props}
            assert [x.name for x in model.graph.input] == ["observation", "agent_id", "available_actions"]
            assert [x.name for x in model.graph.output] == ["action", "probabilities"]
        else:
            extra = {"metadata.json": ""}
            if format == "pt2":
                torch.export.load(path, extra_files=extra)
            else:
                torch.jit.load(path, _extra_files=extra)
            found[format] = json.loads(extra["metadata.json"])
        assert os.getcwd().encode() not in path.read_bytes() or format != "onnx"
    assert found["onnx"] == found["torchscript"] == found["pt2"]
    about = found["onnx"]
    assert (about["task"], about["engine"], about["distribution"]) == ("zerg_5_vs_5", "smax", "categorical")
    assert (about["n_agents"], about["n_actions"], about["action_scale"]) == ("5", "10", "1.0")
    features = json.loads(about["obs_features"])
    assert len(features) == int(about["obs_dim"])
    assert features[-10] == "own.health"
    assert len(about["checkpoint"]) == 32
    assert about["fingerprint"] == policy_of(checkpoints["categorical"]).fingerprint


def test_a_checkpoint_of_before_the_data_told_its_names_is_exported(checkpoints, tmp_path):
    old = torch.load(checkpoints["normal"], weights_only=True)
    for name in ("env", "obs_features", "action_scale"):
        del old["spec"][name]
    torch.save(old, tmp_path / "old.ckpt")
    path, difference = export(tmp_path / "old.ckpt", "onnx")
    about = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert (about["task"], about["obs_features"]) == ("unknown", "[]")
    assert difference.equal_actions == 1


def test_the_example_plays_as_misodice_does(checkpoints, hopper_onnx, monkeypatch):
    """The documented 20 lines, with torch and misodice out of reach, against the engine here."""
    script = CONFIGS.parent / "examples" / "act_with_onnx.py"
    lines = script.read_text().split('"""')[2].splitlines()
    assert len([line for line in lines if line.strip() and not line.strip().startswith("#")]) <= 20
    code = (
        "import runpy, sys; sys.modules['torch'] = sys.modules['misodice'] = None; sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0])"
    )
    played = subprocess.run(
        [sys.executable, "-c", code, str(script), str(hopper_onnx)], capture_output=True, text=True, check=True
    )
    reset = Bodies.reset
    monkeypatch.setattr(Bodies, "reset", lambda bodies, seeds: reset(bodies, [0]))
    env = MamujocoEnv("Hopper", "3x1", "paper", None, 1)
    policy = policy_of(checkpoints["normal"])
    observation, _ = env.reset(seed=0)
    total, steps, ended = 0.0, 0, False
    while not ended:
        action = policy.act(torch.from_numpy(observation["obs"]), None).numpy()
        observation, reward, terminated, truncated, _ = env.step(action)
        total, steps, ended = total + float(reward[0]), steps + 1, bool(terminated[0] | truncated[0])
    env.close()
    found = re.fullmatch(r"return (\S+) in (\d+) steps\n", played.stdout)
    assert int(found[2]) == steps
    assert float(found[1]) == pytest.approx(total, rel=1e-3)


@pytest.mark.parametrize(
    ("spoil", "format"),
    [
        (lambda policy: policy.standardise_obs.mean.add_(0.5), "onnx"),
        (lambda policy: policy.local.agent.data.copy_(policy.local.agent.data.roll(1, 0)), "torchscript"),
        (lambda policy: policy.local.output.bias.data.fill_(float("nan")), "pt2"),
    ],
)
def test_an_export_that_is_not_the_policy_is_refused(checkpoints, tmp_path, monkeypatch, spoil, format):
    write = package.write

    def wrong(agent, format, example, metadata):
        policy = policy_of(checkpoints["categorical"])
        spoil(policy)
        return write(one_agent(policy), format, example, metadata)

    monkeypatch.setattr(package, "write", wrong)
    with pytest.raises(MisodiceError, match=f"the {format} export is not the policy"):
        export(checkpoints["categorical"], format, tmp_path / "policy.x")
    assert not list(tmp_path.iterdir())


def test_equally_probable_actions_may_change_places(checkpoints):
    policy = policy_of(checkpoints["categorical"])
    agent = one_agent(policy)
    policy.local.output.weight.data.zero_()
    policy.local.output.bias.data.zero_()
    samples = random_samples(policy, agent, 10)

    def last_available(inputs):
        available = inputs["available_actions"].float()
        return available.shape[1] - 1 - available.flip(1).argmax(1), available / available.sum(1, keepdim=True)

    difference = compare(last_available, agent, samples)
    assert difference.tolerable
    assert difference.equal_actions < 1


def broken_file(tmp_path):
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    return tmp_path / "text.ckpt"


@pytest.mark.parametrize(
    ("checkpoint", "words"),
    [
        (lambda made, tmp_path, data: tmp_path / "absent.ckpt", ["absent.ckpt does not exist", "misodice fit"]),
        (lambda made, tmp_path, data: broken_file(tmp_path), ["text.ckpt is not a policy's checkpoint", "policy/last"]),
        (lambda made, tmp_path, data: data, ["zerg.h5 is not a policy's checkpoint"]),
        (lambda made, tmp_path, data: made["categorical"].parent.parent, ["does not exist"]),
    ],
    ids=["absent", "text", "episodes", "folder"],
)
def test_what_is_no_checkpoint_is_said(checkpoints, smax_file, tmp_path, capsys, checkpoint, words):
    path = checkpoint(checkpoints, tmp_path, smax_file)
    assert main(["export", "--ckpt_path", str(path), "--output", str(tmp_path / "x.onnx")]) == 2
    said = capsys.readouterr().err
    assert len(said.strip().splitlines()) == 1
    for word in words:
        assert word in said
    assert not (tmp_path / "x.onnx").exists()


def test_checkpoints_of_other_stages_are_refused(smax_file, tmp_path, capsys):
    fit(tmp_path / "run", smax_file)
    for stage in ("preference", "discriminator", "value"):
        assert main(["export", "--ckpt_path", str(tmp_path / "run" / stage / "last.ckpt")]) == 2
        assert f"{stage}/last.ckpt is not a policy's checkpoint" in capsys.readouterr().err
        assert not list((tmp_path / "run" / stage).glob("*.onnx"))


def test_where_nothing_can_be_written_is_said(checkpoints, tmp_path, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "folder.onnx").mkdir()
    for output in ("/proc/misodice/x.onnx", str(tmp_path / "file" / "x.onnx"), str(tmp_path / "folder.onnx")):
        assert main(["export", "--ckpt_path", str(checkpoints["normal"]), "--output", output]) == 2
        assert f"{output}: cannot be written" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder.onnx"}


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_missing_packages_are_named(checkpoints, tmp_path, monkeypatch, capsys, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["export", "--ckpt_path", str(checkpoints["normal"]), "--output", str(tmp_path / "x.onnx")]) == 2
    assert f"--format onnx needs {missing}: pip install 'misodice[export]'" in capsys.readouterr().err
    assert main(["export", "--ckpt_path", str(checkpoints["normal"]), "--format", "pt2"]) == 0


def test_unknown_formats_are_refused(checkpoints, capsys):
    with pytest.raises(MisodiceError, match="expected one of onnx, torchscript, pt2"):
        export(checkpoints["normal"], "coreml")
    with pytest.raises(SystemExit, match="2"):
        main(["export", "--ckpt_path", str(checkpoints["normal"]), "--format", "coreml"])
    assert "torchscript" in capsys.readouterr().err
