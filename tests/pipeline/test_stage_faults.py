"""Faults of a user's own stage, weighting, policy and environment: one line that names the class and the method."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from misodice.envs import TeamEnv
from misodice.errors import MisodiceError
from misodice.modules import OMAPL, Policy, Value, Weighting
from misodice.rollout.actors import PolicyActor, RandomActor
from misodice.rollout.loop import rollout
from tests.helpers.small import N_ACTIONS, N_AGENTS, OBS, table_of
from tests.helpers.tiny_engine import Tiny, TinyEnv
from tests.helpers.tiny_run import SMALL, experiment


def with_method(base, name, returned):
    """A subclass of `base` whose method `name` returns what `returned` makes of the right answer."""

    def method(self, *args, **options):
        return returned(getattr(base, name)(self, *args, **options))

    return type(f"My{base.__name__}", (base,), {name: method, "__module__": __name__})


class Unread(Value):
    """Forgets to say what it reads."""

    reads = ()


class Blind(Value):
    """Writes nothing."""

    writes = ()


class Letters(Value):
    """A word in place of a tuple."""

    writes = "weight"


class Watched(Value):
    """Watches what nobody measures."""

    monitor = "value/held_out_loss"


class Mute(OMAPL):
    """A reward stage without a reward."""

    writes = ("local_weight",)


class Weigh(Weighting):
    """Whatever it is told to."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __call__(self, weight, length, expert):
        return {
            "short": weight[:-1],
            "list": weight.tolist(),
            "nan": weight * float("nan"),
            "negative": -weight,
            "zero": weight * 0,
        }[self.how]


RETURNED = [
    ("loss", lambda r: r[0], "value: MyValue.loss returned a tensor"),
    ("loss", lambda r: (r[0], {"loss": 1.0}), "MyValue.loss returned (a tensor [], {'loss': float 1.0}), expected"),
    ("loss", lambda r: (r[0], None), "a dictionary of tensors of one number each"),
    ("loss", lambda r: (r[0].expand(3), r[1]), "a tensor [3]"),
    ("loss", lambda r: (r[0].detach(), r[1]), "a tensor [] without a gradient"),
    ("loss", lambda r: None, "MyValue.loss returned NoneType None"),
    ("loss", lambda r: (r[0] * np.nan, r[1]), "stage value: the loss turned NaN"),
    ("predict_step", lambda r: None, "MyValue.predict_step returned"),
    ("predict_step", lambda r: {"w": r["weight"]}, "the keys ['w']"),
    (
        "predict_step",
        lambda r: {"weight": r["weight"][:, None, None]},
        "returned 'weight' of shape",
    ),
    ("predict_step", lambda r: {"weight": r["weight"][1:]}, "column 'weight' of MyValue: found shape"),
    ("finish", lambda r: None, "MyValue.finish returned NoneType"),
    ("column_metrics", lambda r: None, "MyValue.column_metrics returned"),
    ("datamodule", lambda r: 3, "MyValue.datamodule returned int"),
]
SAID = [
    (Unread, "value: Unread asks for column 'log_ratio', but its `reads` is (); add"),
    (Blind, "policy: Policy reads column 'weight', but no stage before it writes it"),
    (Letters, "value: Letters.writes is 'weight', expected a tuple"),
    (Watched, "value: Watched has the monitor 'value/held_out_loss', but no validation_step"),
]


@pytest.mark.parametrize(
    ("make", "words"),
    [*((with_method(Value, name, change), words) for name, change, words in RETURNED), *SAID],
)
def test_a_fault_of_a_stage_is_one_line(tiny_file, tmp_path, make, words):
    trainer = {"limit_train_batches": 1, "max_epochs": 1}
    with pytest.raises(MisodiceError) as error:
        experiment(tiny_file, tmp_path / "run", value=make(**SMALL), trainer=trainer).fit()
    assert words in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_reward_stage_without_a_reward(tiny_file, tmp_path):
    with pytest.raises(MisodiceError, match="reads column 'reward', but no stage before it writes it"):
        experiment(tiny_file, tmp_path / "run", preference=Mute(**SMALL)).fit()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("short", "expected new weights of all"),
        ("list", "returned list"),
        *[(how, "expected mean 1") for how in ("nan", "negative", "zero")],
    ],
)
def test_a_fault_of_a_weighting(how, words):
    table = table_of([4, 1, 5])
    inputs = SimpleNamespace(table=table, columns={"weight": torch.ones(10)}, batch_size=4, seed=0)
    with pytest.raises(MisodiceError, match=r"^policy\.weighting: Weigh returned ") as error:
        Policy(weighting=[Weigh(how)]).datamodule(inputs)
    assert words in str(error.value)


def test_a_policy_says_what_it_acts_on():
    policy = Policy(**SMALL)
    obs = torch.zeros(2, N_AGENTS, OBS)
    mask = torch.ones(2, N_AGENTS, N_ACTIONS, dtype=torch.bool)
    with pytest.raises(MisodiceError, match="no networks yet"):
        policy.act(obs, mask)
    policy._build(table_of([4, 1]).spec)
    assert policy.act(obs, mask).shape == (2, N_AGENTS)
    assert policy.act(obs, None).shape == (2, N_AGENTS)
    for wrong in (obs.numpy(), obs[0], obs[..., :2], obs.long(), None):
        with pytest.raises(MisodiceError, match=r"^Policy\.act: obs is .*expected a float32 tensor \[B, 3, 4\]"):
            policy.act(wrong, mask)
    for wrong in (mask.numpy(), mask[:1], mask.float(), mask[..., :1]):
        with pytest.raises(MisodiceError, match=r"^Policy\.act: available_actions is .*a bool tensor \[2, 3, 5\]"):
            policy.act(obs, wrong)


def broken(method, change) -> TeamEnv:
    env = with_method(TinyEnv, method, change)("follow", 6, 4)
    return env


def replaced(place, change):
    return lambda returned: tuple(change(each) if i == place else each for i, each in enumerate(returned))


@pytest.mark.parametrize(
    ("method", "change", "words"),
    [
        ("reset", lambda returned: returned[0], "MyTinyEnv.reset returned a dictionary of 'obs'"),
        ("reset", replaced(0, lambda obs: obs["obs"]), "MyTinyEnv.reset: observation is an array"),
        ("reset", replaced(0, lambda obs: obs | {"obs": obs["obs"][0]}), "MyTinyEnv.reset: observation has shapes"),
        ("step", lambda returned: returned[:4], "MyTinyEnv.step returned (dict, ndarray, ndarray, ndarray)"),
        ("step", lambda returned: None, "MyTinyEnv.step returned NoneType"),
        (
            "step",
            replaced(0, lambda obs: obs | {"state": obs["state"][:, :1]}),
            "MyTinyEnv.step: observation has shapes",
        ),
        ("step", replaced(1, lambda reward: 1.0), "MyTinyEnv.step: reward is float 1.0"),
        ("step", replaced(1, lambda reward: reward[:, None]), "MyTinyEnv.step: reward is an array float32 (4, 1)"),
        ("step", replaced(2, lambda ended: ended.astype(float)), "MyTinyEnv.step: terminated is an array float64 (4,)"),
        ("step", replaced(3, lambda ended: bool(ended.all())), "MyTinyEnv.step: truncated is bool"),
        ("step", replaced(4, lambda info: {}), "MyTinyEnv.step: info has []"),
    ],
)
def test_a_fault_of_an_environment(method, change, words):
    env = broken(method, change)
    with pytest.raises(MisodiceError) as error:
        list(rollout(env, RandomActor(env), 4, seed=0))
    assert str(error.value).startswith(words)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "change", [lambda a: a.tolist(), lambda a: a[:1], lambda a: a.astype(float), lambda a: a[..., None]]
)
def test_a_fault_of_an_actor(change):
    env = Tiny().make(4)
    with pytest.raises(MisodiceError, match=r"^MyRandomActor\.act returned .* array of whole numbers \(4, 2\)"):
        list(rollout(env, with_method(RandomActor, "act", change)(env), 4, seed=0))


def test_a_policy_that_returns_an_array():
    env = Tiny().make(4)
    policy = Policy(**SMALL)
    policy.act = lambda obs, available_actions: np.zeros((4, 2), int)
    with pytest.raises(MisodiceError, match=r"^Policy\.act returned ndarray, expected a tensor"):
        list(rollout(env, PolicyActor(policy), 4, seed=0))
