"""SMAX as the one interface shows it: what its features are, when a game ends, who is drawn."""

import jax
import numpy as np
import pytest

from misodice.data.episodes import Episode
from misodice.envs import SMAX, TeamEnv
from misodice.envs.smax.env import RACES, STOP, UNITS, RaceUnitTypes, make_game
from misodice.errors import MisodiceError
from misodice.rollout.actors import make_actor
from misodice.rollout.loop import rollout

ZERG = SMAX("zerg_5_vs_5")
GAMES = 8
COOLDOWNS = (0.61, 1.07, 1.87, 0.86, 0.5, 0.59)
"""Of UNITS, in seconds (jaxmarl's SMAX)."""


@pytest.fixture(scope="module")
def env() -> TeamEnv:
    return ZERG.make(GAMES)


@pytest.fixture(scope="module")
def episodes(env) -> list[Episode]:
    """Some won, some lost."""
    return [
        episode
        for behaviour in ("zerg_5_vs_5_expert", "random")
        for episode in rollout(env, make_actor(ZERG, env, behaviour), GAMES, seed=0)
    ]


def test_a_step_ends_in_the_types_it_began_with(env):
    """Or it would be compiled a second time."""
    env.reset(seed=0)
    before = [leaf.aval for leaf in jax.tree.leaves((env._keys, env._state, env._ended))]
    env.step(np.full((GAMES, env.n_agents), STOP))
    assert [leaf.aval for leaf in jax.tree.leaves((env._keys, env._state, env._ended))] == before


def test_each_agent_sees_itself_as_the_state_does(env, episodes):
    own = [name.removeprefix("own.") for name in env.header.obs_features if name.startswith("own.")]
    assert len(own) == 10
    for episode in episodes:
        for agent in range(env.n_agents):
            seen = {name: episode.obs[:, agent, env.header.obs_features.index(f"own.{name}")] for name in own}
            true = {
                name: episode.state[:, env.header.state_features.index(f"ally_{agent}.{name}")].copy() for name in own
            }
            # Observations have shares of the map and of a type's cooldown, which the state has beyond 0 and 1 too.
            true["position_x"] /= env.game.map_width
            true["position_y"] /= env.game.map_height
            of_type = sum(true[unit] * seconds for unit, seconds in zip(UNITS, COOLDOWNS, strict=True))
            true["weapon_cooldown"] = np.clip(true["weapon_cooldown"] / np.maximum(of_type, 0.1), 0.0, 1.0)
            alive = true["health"] > 0
            for name in own:
                np.testing.assert_allclose(seen[name][alive], true[name][alive], rtol=1e-5, atol=1e-7, err_msg=name)


def test_a_game_ends_when_one_side_is_gone_and_wins_are_the_allies(env, episodes):
    names = env.header.state_features
    health = {
        side: [i for i, name in enumerate(names) if name.startswith(side) and name.endswith(".health")]
        for side in ("ally", "enemy")
    }
    assert {episode.won for episode in episodes} == {True, False}
    for episode in episodes:
        allies, enemies = ((episode.state[:, health[side]] > 0).any(axis=1) for side in ("ally", "enemy"))
        assert allies[:-1].all()
        assert enemies[:-1].all()
        assert episode.terminated[-1] == (not allies[-1] or not enemies[-1])
        assert episode.terminated[-1] != episode.truncated[-1]
        assert episode.won == (allies[-1] and not enemies[-1])
        assert not (episode.terminated[:-1] | episode.truncated[:-1]).any()
        # All damage that can be done makes 1, and a win 1 more.
        assert 0 <= episode.rewards.sum() <= 2 + 1e-5
        assert episode.won == (episode.rewards[-1] >= 1)


def test_the_dead_may_only_stop(env, episodes):
    for episode in episodes:
        for agent in range(env.n_agents):
            column = env.header.state_features.index(f"ally_{agent}.health")
            dead = episode.state[:, column] <= 0
            available = episode.available_actions[:, agent]
            assert available[:, STOP].all()
            assert not np.delete(available[dead], STOP, axis=1).any()
            assert available[~dead, :STOP].all()


def test_a_game_that_has_ended_stands_still(env):
    actor = make_actor(ZERG, env, "random")
    observation, _ = env.reset(seed=3)
    actor.reset(GAMES, 3)
    ended = np.zeros(GAMES, bool)
    while not ended.any():
        observation, _, terminated, truncated, _ = env.step(actor.act(observation))
        ended = terminated | truncated
    after, reward, terminated, truncated, info = env.step(actor.act(observation))
    for name, values in observation.items():
        np.testing.assert_array_equal(values[ended], after[name][ended])
    assert not reward[ended].any()
    assert not info["won"][ended].any()
    assert (terminated | truncated)[ended].all()


def test_one_seed_gives_one_game(env):
    def play(seed: int) -> list[np.ndarray]:
        return [episode.state for episode in rollout(env, make_actor(ZERG, env, "random"), 2, seed)]

    first, again, other = play(5), play(5), play(6)
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first[0][0], first[1][0])
    assert not np.array_equal(first[0][0], other[0][0])


@pytest.mark.parametrize("race", RACES)
def test_units_are_of_their_race_and_mirrored(race):
    """Surplus enemies too, which jaxmarl makes marines."""
    draw = jax.vmap(RaceUnitTypes(10, 11, RACES[race]).generate)
    drawn = np.asarray(draw(jax.random.split(jax.random.key(0), 500)))
    assert {UNITS[kind] for kind in np.unique(drawn)} == {UNITS[kind] for kind in RACES[race]}
    np.testing.assert_array_equal(drawn[:, :10], drawn[:, 10:20])
    shares = (drawn == RACES[race][0]).mean(axis=0)
    assert np.abs(shares - 0.5).max() < 0.1  # 4.5 standard errors


@pytest.mark.parametrize(
    ("task", "near"), [("zreg_5_vs_5", "zerg_5_vs_5"), ("5m_vs_6", "5m_vs_6m"), ("chess", "zerg_5_vs_5")]
)
def test_an_unknown_task_is_told_with_the_nearest(task, near):
    with pytest.raises(MisodiceError, match=rf"unknown SMAX task '{task}'; nearest: .*{near}"):
        make_game(task)
