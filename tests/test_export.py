"""`misodice export` of small policies of every head, a user's own among them, in every format."""

import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from misodice import Data, Experiment, Rollout, export as package
from misodice.callbacks.marking import Mark
from misodice.cli.main import main
from misodice.data.episodes import Episodes
from misodice.datamodules.batches import Spec
from misodice.datamodules.table import TransitionTable
from misodice.envs.mamujoco.bodies import Bodies
from misodice.envs.mamujoco.env import MamujocoEnv
from misodice.errors import MisodiceError
from misodice.export import describe, export
from misodice.export.agent import Agent
from misodice.export.check import compare, random_samples
from misodice.modules import ActionHead, GaussianHead, Network, Policy

HEADS = {
    "categorical": None,
    "normal": partial(GaussianHead, kind="normal"),
    "tanh_normal": partial(GaussianHead, kind="tanh_normal"),
}
FORMATS = {"onnx": "last.onnx", "torchscript": "last.pt", "pt2": "last.pt2"}
EXAMPLE = Path(__file__).parents[1] / "examples" / "act_with_onnx.py"


def save(policy: Policy, spec: Spec, path: Path) -> Path:
    """A checkpoint of the policy as it begins, with weights as large as some training makes them."""
    torch.manual_seed(0)
    policy._build(spec)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(1.4)
    checkpoint = {"state_dict": policy.state_dict()}
    policy.on_save_checkpoint(checkpoint)
    Mark("0123456789abcdef").on_save_checkpoint(None, policy, checkpoint)
    torch.save(checkpoint, path)
    return path


@pytest.fixture(scope="module")
def checkpoints(smax_file, hopper_file, tmp_path_factory):
    """The checkpoint of a policy with each head, each alone in a folder."""
    made = {}
    for name, head in HEADS.items():
        table = TransitionTable.of(Episodes.read(smax_file if name == "categorical" else hopper_file))
        made[name] = save(Policy(head=head), table.spec, tmp_path_factory.mktemp(name) / "last.ckpt")
    return made


@pytest.fixture
def hopper_onnx(checkpoints, tmp_path):
    path, _ = export(checkpoints["normal"], "onnx", tmp_path / "hopper.onnx")
    return path


def policy_of(path):
    return Policy.load(path)


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
    assert about["fingerprint"] == "0123456789abcdef"


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
    lines = EXAMPLE.read_text().split('"""')[2].splitlines()
    assert len([line for line in lines if line.strip() and not line.strip().startswith("#")]) <= 20
    code = (
        "import runpy, sys; sys.modules['torch'] = sys.modules['misodice'] = None; sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0])"
    )
    played = subprocess.run(
        [sys.executable, "-c", code, str(EXAMPLE), str(hopper_onnx)], capture_output=True, text=True, check=True
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
        return write(Agent(policy), format, example, metadata)

    monkeypatch.setattr(package, "write", wrong)
    with pytest.raises(MisodiceError, match=f"the {format} export is not the policy"):
        export(checkpoints["categorical"], format, tmp_path / "policy.x")
    assert not list(tmp_path.iterdir())


def test_equally_probable_actions_may_change_places(checkpoints):
    policy = policy_of(checkpoints["categorical"])
    agent = Agent(policy)
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
        (lambda made, tmp_path, data: broken_file(tmp_path), ["text.ckpt is not a Policy's checkpoint", "policy/last"]),
        (lambda made, tmp_path, data: data, ["zerg.h5 is not a Policy's checkpoint"]),
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


def test_of_a_run_the_policy_is_exported_and_the_other_stages_are_refused(smax_file, tmp_path, capsys):
    run = tmp_path / "run"
    Experiment(
        data=Data(path=str(smax_file), ranking="return", k=5, batch_size=64),
        rollout=Rollout(episodes=2, every_n_epochs=0),
        trainer={"max_epochs": 1, "enable_progress_bar": False},
        run_dir=run,
    ).fit()
    capsys.readouterr()
    for stage, kind in (("discriminator", "Discriminator"), ("value", "Value")):
        assert main(["export", "--ckpt_path", str(run / stage / "last.ckpt")]) == 2
        said = capsys.readouterr().err
        assert f"{stage}/last.ckpt" in said
        assert re.search(
            rf"modules\.{stage}\.{kind}' is .*, expected a subclass of misodice.modules.policy.Policy", said
        )
        assert not list((run / stage).glob("*.onnx"))
    path, difference = export(run / "policy" / "last.ckpt", "onnx")
    assert difference.equal_actions == 1
    about = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert about["fingerprint"] == torch.load(run / "policy" / "last.ckpt", weights_only=True)["fingerprint"]


def test_where_nothing_can_be_written_is_said(checkpoints, tmp_path, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "folder.onnx").mkdir()
    for output, words in (
        ("/proc/misodice/x.onnx", "cannot be written"),
        (str(tmp_path / "file" / "x.onnx"), "cannot be written"),
        (str(tmp_path / "folder.onnx"), "is a folder"),
        (str(tmp_path / "file"), "exists already, and is not replaced"),
    ):
        assert main(["export", "--ckpt_path", str(checkpoints["normal"]), "--output", output]) == 2
        assert f"{output}: {words}" in capsys.readouterr().err
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


class Ordinal(ActionHead):
    """A user's own discrete head: logits fall with the distance from a point that the network names."""

    parameters_names = ("point",)

    def __init__(self, n_actions: int, slope: float = 1.0) -> None:
        super().__init__(n_actions)
        self.outputs, self.slope = 1, slope
        self.register_buffer("place", torch.arange(float(n_actions)))

    def logits(self, output, available_actions):
        logits = -self.slope * (self.place - output).abs()
        return logits.masked_fill(~available_actions, torch.finfo(output.dtype).min)

    def log_prob(self, output, actions, available_actions):
        logits = self.logits(output, available_actions)
        return torch.log_softmax(logits, dim=-1).gather(-1, actions.unsqueeze(-1)).squeeze(-1)

    def greedy(self, output, available_actions):
        return self.logits(output, available_actions).argmax(dim=-1)

    def parameters_of(self, output, available_actions):
        return (output,)


class Uniform(ActionHead):
    """A user's own continuous head without parameters."""

    def log_prob(self, output, actions, available_actions):
        return -(actions - output).abs().sum(dim=-1)

    def greedy(self, output, available_actions):
        return output.clamp(-1, 1)


class PerAgent(Network):
    """A user's own network: one linear layer for each agent."""

    def __init__(self, n_agents: int, inputs: int, outputs: int, scale: float = 1.0) -> None:
        super().__init__(n_agents, inputs, outputs)
        self.weight, self.scale = nn.Parameter(torch.randn(n_agents, inputs, outputs)), scale

    def forward(self, inputs, agent=None):
        weight = self.weight if agent is None else self.weight[agent]
        return self.scale * (inputs.unsqueeze(-2) @ weight).squeeze(-2)


class Forgetful(PerAgent):
    """Does not look at `agent`."""

    def forward(self, inputs, agent=None):
        return super().forward(inputs, torch.zeros_like(agent) if agent is not None else None)


class Cautious(Policy):
    """A user's own policy stage with an option more."""

    def __init__(self, decay: float = 0.1, **options) -> None:
        super().__init__(**options)
        self.decay = decay


class Contrary(Policy):
    """Acts otherwise than its head."""

    def act(self, obs, available_actions):
        return -super().act(obs, available_actions)


def own_spec(discrete: bool) -> Spec:
    spec = {"n_agents": 3, "obs_dim": 4, "state_dim": 6, "n_actions": 5, "discrete": discrete}
    statistics = {"obs_mean": [0.5] * 4, "obs_std": [2.0] * 4, "state_mean": [0.0] * 6, "state_std": [1.0] * 6}
    return Spec(**spec, **statistics, action_scale=1.0 if discrete else 3.0)


@pytest.mark.parametrize("format", FORMATS)
def test_a_user_s_own_policy_network_and_discrete_head_are_exported(tmp_path, format):
    policy = Cautious(decay=0.5, head=partial(Ordinal, slope=2.0), network=partial(PerAgent, scale=0.5))
    checkpoint = save(policy, own_spec(discrete=True), tmp_path / "own.ckpt")
    path, difference = export(checkpoint, format)
    assert difference.equal_actions == 1
    loaded = policy_of(checkpoint)
    assert (type(loaded), loaded.decay, loaded.head.slope, loaded.local.scale) == (Cautious, 0.5, 2.0, 0.5)
    assert describe(loaded, checkpoint)["distribution"] == "tests.test_export.Ordinal"
    if format == "onnx":
        session = onnxruntime.InferenceSession(path)
        assert [output.name for output in session.get_outputs()] == ["action", "point"]
        obs, available = torch.randn(20, 3, 4), torch.rand(20, 3, 5) < 0.5
        available[..., 2] = True
        inputs = {"observation": obs.flatten(0, 1).numpy(), "agent_id": np.tile(np.arange(3), 20)}
        action, point = session.run(None, inputs | {"available_actions": available.flatten(0, 1).numpy()})
        assert (action == policy.act(obs, available).flatten(0, 1).numpy()).all()
        assert np.allclose(point, policy(obs).detach().flatten(0, 1).numpy(), atol=1e-5)


@pytest.mark.parametrize("format", FORMATS)
def test_a_head_without_parameters_has_the_action_alone(tmp_path, format):
    checkpoint = save(Policy(head=Uniform), own_spec(discrete=False), tmp_path / "own.ckpt")
    path, difference = export(checkpoint, format)
    assert difference.equal_actions == 1
    if format == "onnx":
        assert [output.name for output in onnxruntime.InferenceSession(path).get_outputs()] == ["action"]


@pytest.mark.parametrize(("policy", "named"), [(Policy(network=Forgetful), "Forgetful"), (Contrary(), "Contrary")])
def test_what_one_agent_cannot_do_alone_is_refused(tmp_path, policy, named):
    checkpoint = save(policy, own_spec(discrete=False), tmp_path / "own.ckpt")
    with pytest.raises(MisodiceError, match=f"{named}.*: one agent asked alone does not act as in its team"):
        export(checkpoint)
    assert [path.name for path in tmp_path.iterdir()] == ["own.ckpt"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("mean",), "Wrong: parameters_of returns 2 tensors, but parameters_names has 1 names"),
        (("mean", "mean"), "expected different names"),
        (("mean", "action"), "none of them action"),
    ],
)
def test_wrong_names_of_parameters_are_refused(names, message):
    class Wrong(GaussianHead):
        parameters_names = names

    policy = Policy()
    policy._build(own_spec(discrete=False))
    policy.head = Wrong(5)
    with pytest.raises(MisodiceError, match=message):
        random_samples(policy, Agent(policy), 2)
