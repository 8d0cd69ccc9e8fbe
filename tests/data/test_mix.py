"""`mix`: what fits is combined with the right values, what does not is refused with the files' names."""

import json

import numpy as np
import pytest

from misodice.cli.main import main
from misodice.data.episodes import Episodes
from tests.helpers.own_file import own_file


def run(inputs, output, *more, status=0):
    assert (
        main(["mix", "--inputs", json.dumps([str(path) for path in inputs]), "--output", str(output), *more]) == status
    )


def without(*names):
    def edit(fields, attributes):
        for name in names:
            fields[name] = None

    return edit


def narrow(name):
    def edit(fields, attributes):
        fields[name] = fields[name][..., :-1]
        attributes.update(obs_features=None, state_features=None)

    return edit


def one_agent(fields, attributes):
    fields["obs"], fields["actions"] = fields["obs"][:, :1], fields["actions"][:, :1]


REFUSED = [
    ({"edit": without("rewards", "episode/return")}, ["no rewards and episode/return", "--drop '[rewards, return]'"]),
    ({"edit": without("rewards")}, ["no rewards,", "--drop '[rewards]'"]),
    ({"edit": without("episode/source")}, ["no episode/source", "--drop '[source]'"]),
    ({"edit": without("episode/won")}, ["no episode/won", "--drop '[won]'"]),
    ({"edit": narrow("obs")}, ["obs size is 2, but 3"]),
    ({"edit": narrow("state")}, ["state size is 4, but 5"]),
    ({"edit": narrow("actions")}, ["actions size is 1, but 2"]),
    ({"edit": one_agent}, ["agents size is 1, but 2"]),
    ({"discrete": True}, ["actions are discrete, but continuous"]),
    ({"env": '{"task": "another"}'}, ["env option 'task' is 'another', but 'mine'", "one environment"]),
    ({"env": '{"task": "mine", "engine": "smax"}'}, ["env option 'engine' is 'smax', but 'not named'"]),
    ({"action_scale": 4.0}, ["action_scale is 4, but 1"]),
    ({"obs_features": '["x", "y", "other"]'}, ["obs_features are x, y, other, but x, y, z"]),
    ({"obs_features": None}, ["obs_features are not named, but x, y, z"]),
]


@pytest.mark.parametrize(("options", "words"), REFUSED)
def test_what_does_not_fit_is_refused(tmp_path, capsys, options, words):
    one, two = own_file(tmp_path / "one.h5"), own_file(tmp_path / "two.h5", seed=1, **options)
    for inputs in ([one, two], [one, one, two]):
        run(inputs, tmp_path / "out.h5", status=2)
        message = capsys.readouterr().err
        assert message.count("\n") == 1
        assert all(word in message for word in [str(one), str(two), *words]), message
    assert {path.name for path in tmp_path.iterdir()} == {"one.h5", "two.h5"}


@pytest.mark.parametrize(
    ("lacking", "drop"), [(["rewards", "episode/return"], "[rewards, return]"), (["episode/source"], "[source]")]
)
def test_the_file_that_lacks_a_field_may_come_first(tmp_path, capsys, lacking, drop):
    one, two = own_file(tmp_path / "one.h5", without(*lacking)), own_file(tmp_path / "two.h5", seed=1)
    run([one, two], tmp_path / "out.h5", status=2)
    assert f"{one}: has no {' and '.join(lacking)}, but {two} has" in capsys.readouterr().err
    run([one, two], tmp_path / "out.h5", "--drop", drop)
    mixed = Episodes.read(tmp_path / "out.h5")
    assert mixed.n_episodes == 8
    assert (mixed.rewards is None) == (mixed.returns is None) == ("rewards" in lacking)
    assert (mixed.source is None) == ("episode/source" in lacking)


def test_returns_are_kept_where_rewards_are_left_out(tmp_path):
    one, two = own_file(tmp_path / "one.h5"), own_file(tmp_path / "two.h5", without("rewards"), seed=1)
    run([one, two], tmp_path / "out.h5", "--drop", "[rewards]")
    mixed = Episodes.read(tmp_path / "out.h5")
    assert mixed.rewards is None
    expected = np.concatenate([Episodes.read(one).returns, Episodes.read(two).returns])
    np.testing.assert_array_equal(np.sort(mixed.returns), np.sort(expected))


def test_features_in_another_order_are_put_in_that_of_the_first_file(tmp_path, caplog):
    def turned(fields, attributes):
        fields["obs"], fields["state"] = fields["obs"][..., [2, 0, 1]], fields["state"][:, ::-1]
        attributes.update(obs_features=["z", "x", "y"], state_features=list("edcba"))

    one, same = own_file(tmp_path / "one.h5"), own_file(tmp_path / "same.h5", seed=1)
    two = own_file(tmp_path / "two.h5", turned, seed=1)
    run([one, two], tmp_path / "out.h5")
    assert f"{two}: obs_features and state_features are in another order than in {one}" in caplog.text
    run([one, same], tmp_path / "expected.h5")
    found, expected = Episodes.read(tmp_path / "out.h5"), Episodes.read(tmp_path / "expected.h5")
    assert found.header == expected.header
    for name in ("obs", "state", "actions", "rewards", "returns", "source", "length"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_arguments_that_are_none(tmp_path, capsys, caplog):
    one, two = own_file(tmp_path / "one.h5"), own_file(tmp_path / "two.h5", seed=1)
    out = tmp_path / "out.h5"
    cases = [
        ([], out, [], "inputs: found no file"),
        ([one, tmp_path / "none.h5"], out, [], "none.h5: no such file"),
        ([tmp_path], out, [], "is a folder"),
        ([one, two], two, [], "two.h5: is one of the inputs"),
        ([one, two], two, ["--overwrite", "true"], "two.h5: is one of the inputs"),
        ([one, two], tmp_path, [], "is a folder"),
        ([one, two], out, ["--seed", "-1"], "seed is -1"),
        ([one, two], "/proc/none/out.h5", [], "/proc/none/out.h5: cannot be written"),
    ]
    for inputs, output, more, words in cases:
        run(inputs, output, *more, status=2)
        message = capsys.readouterr().err
        assert words in message
        assert message.count("\n") == 1
    run([one], out)
    assert sorted(Episodes.read(out).length) == sorted(Episodes.read(one).length)
    run([one, two], out, status=2)
    assert "out.h5: exists already" in capsys.readouterr().err
    assert Episodes.read(out).n_episodes == 4
    run([one, one], out, "--overwrite", "true")
    assert "one.h5: is named twice" in caplog.text
    assert Episodes.read(out).n_episodes == 8
