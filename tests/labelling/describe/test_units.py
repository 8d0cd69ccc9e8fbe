"""Episodes in words."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from misodice.data.episodes import Episodes, Header
from misodice.errors import MisodiceError
from misodice.labelling import LLMLabeller, UnitDescriber
from misodice.labelling.describe.base import tokens
from misodice.labelling.llm.question import Prompts
from tests.labelling.conftest import write_battles


def one_episode(features: list[str], states: list[list[float]], actions: list[list[int]], engine="smax") -> Episodes:
    state, acted = np.array(states, np.float32), np.array(actions)
    length, n = acted.shape
    return Episodes(
        header=Header(env={"engine": engine, "task": "t"}, state_features=features),
        obs=np.zeros((length + 1, n, 1), np.float32),
        state=state,
        actions=acted,
        terminated=np.arange(length) == length - 1,
        truncated=np.zeros(length, bool),
        length=np.array([length]),
        available_actions=np.ones((length + 1, n, 12), bool),
    )


SMAX = [f"{unit}.{what}" for unit in ("ally_0", "ally_1", "enemy_0") for what in
        ("health", "position_x", "position_y", "weapon_cooldown", "zergling", "hydralisk")]  # fmt: skip
SMAX += [f"{unit}.{what}" for what in ("team", "type") for unit in ("ally_0", "ally_1", "enemy_0")]


def test_smax_in_words():
    kinds = [0, 0, 1, 4, 5, 4]
    start = [1, 0, 0, 0, 1, 0, *(1, 2, 0, 0, 0, 1), *(1, 6, 8, 0, 1, 0), *kinds]
    end = [0.5, 3, 4, 0.25, 1, 0, *(0, 0, 0, 0, 0, 0), *(0.25, 6, 8, 0, 1, 0), *kinds]
    text = UnitDescriber().describe(one_episode(SMAX, [start, end], [[0, 5]]), 1000)(0)
    assert text.splitlines() == [
        "Length: 1 steps.",
        "What living allies did, over the whole episode: move 50%, attack 50%.",
        "After 0 of 1 steps:",
        "Allies: 2 of 2 alive, 100% of the team's health left.",
        "Enemies: 1 of 1 alive, 100% of the team's health left.",
        "Distance between the teams' centres: 9.43.",
        "Allies now: 1 × move north, 1 × attack enemy_0.",
        "Final state, after all 1 steps:",
        "Allies: 1 of 2 alive (dead: 1 hydralisk), 25% of the team's health left.",
        "Enemies: 1 of 1 alive, 25% of the team's health left.",
        "Distance between the teams' centres: 5.",
        "- ally_0 zergling: health 50%, at (3, 4), nearest enemy_0 at distance 5, cooldown 0.25, last: move north",
        "- enemy_0 zergling: health 25%, at (6, 8), ready",
    ]


def test_smacv2_in_words():
    """Shields, relative positions, no enemy cooldown, last actions in the state; a medivac has energy and heals."""
    features = [
        f"ally_0.{what}" for what in ("health", "weapon_cooldown", "rel_x", "rel_y", "shield", "medivac", "stalker")
    ]
    features += [f"enemy_0.{what}" for what in ("health", "rel_x", "rel_y", "shield", "medivac", "stalker")]
    features += ["ally_0.last_action_no_op", "ally_0.last_action_stop", "ally_0.attack_prob"]
    start = [1, 0.5, 0.1, 0.2, 1, 1, 0, *(1, 0.4, 0.6, 1, 0, 1), 1, 0, 1]
    end = [1, 0.25, 0.1, 0.2, 0.5, 1, 0, *(0, 0, 0, 0, 0, 0), 0, 1, 1]
    episodes = one_episode(features, [start, start, end], [[4], [6]], "starcraft2")
    text = UnitDescriber(moments=1).describe(episodes, 1000)(0)
    assert "move east" in text
    assert "- ally_0 medivac: health 100%, shield 50%, at (0.1, 0.2), energy 0.25, last: heal ally_0" in text
    assert (
        "Enemies: 0 of 1 alive (dead: 1 stalker), 0% of the team's health left, 0% of the team's shield left." in text
    )
    assert "Allies: 1 of 1 alive, 100% of the team's health left, 50% of the team's shield left." in text


def test_an_unknown_engine_numbers_its_actions_and_counts_points():
    episodes = one_episode(["ally_0.health", "enemy_0.health"], [[45, 80], [40, 80]], [[7]], "own")
    text = UnitDescriber(moments=1).describe(episodes, 999)(0)
    assert "1 × action 7" in text
    assert "ally_0 unit: health 40, last: action 7" in text


def test_nothing_hidden_is_told(battles):
    hidden = replace(battles, rewards=None, returns=None, won=None, source=None)
    flipped = replace(
        battles, rewards=-battles.rewards, returns=-battles.returns, won=~battles.won, source=battles.source[::-1]
    )
    prompts = [Prompts(episodes, None, True, UnitDescriber(), 3000) for episodes in (battles, hidden, flipped)]
    for first in range(0, 30, 2):
        texts = {prompt(first, first + 1) for prompt in prompts}
        assert len(texts) == 1
        assert not {"expert", "poor", "reward", f"{battles.returns[first]:.0f}"} & set(texts.pop().lower().split())


@given(max_tokens=st.integers(60, 700), moments=st.integers(0, 8), index=st.integers(0, 29))
def test_the_budget_holds_and_the_final_state_stays(battles, max_tokens, moments, index):
    describer = UnitDescriber(moments)
    try:
        text = describer.describe(battles, max_tokens)(index)
    except MisodiceError:
        assert max_tokens < 150
        return
    assert tokens(text) <= max_tokens
    assert "Final state" in text
    assert text == describer.describe(battles, max_tokens)(index)
    full = describer.describe(battles, 10_000)(index)
    assert set(text.splitlines()) <= set(full.splitlines())
    # What goes first is the earliest moment.
    kept = [line for line in text.splitlines() if line.startswith("After")]
    assert kept == [line for line in full.splitlines() if line.startswith("After")][-len(kept) :] or not kept


def test_the_largest_teams_fit_the_default(tmp_path):
    episodes = write_battles(tmp_path / "large.h5", 2, 20, 23)
    labeller = LLMLabeller()
    assert tokens(labeller.view(episodes, 0, 1)) <= labeller.prompt_tokens


def test_real_smax_episodes(smax_file):
    text = LLMLabeller().view(Episodes.read(smax_file), 0, 1)
    assert "ally" in text
    assert "zergling" in text or "hydralisk" in text
    assert "unit:" not in text


def test_mamujoco_and_unnamed_features_are_refused(hopper_file, battles):
    with pytest.raises(MisodiceError, match="RuleLabeller"):
        LLMLabeller().check(Episodes.read(hopper_file))
    for names in ([], ["x"] * 28, battles.header.state_features[:-1], battles.header.state_features[:14]):
        unnamed = replace(battles, header=replace(battles.header, state_features=names))
        with pytest.raises(MisodiceError, match="state_features"):
            LLMLabeller().check(unnamed)


def test_a_negative_number_of_moments_is_refused():
    with pytest.raises(MisodiceError, match="moments is -1"):
        UnitDescriber(moments=-1)


def test_a_template_of_ones_own(battles, tmp_path):
    path = tmp_path / "mine.jinja"
    path.write_text("{{ task }} by {{ engine }}\n{{ first }}\nVERSUS\n{{ second }}")
    labeller = LLMLabeller(template=str(path))
    assert labeller.view(battles, 0, 1).startswith("protoss_2_vs_2 by smax\nLength")
    assert labeller.identity() != LLMLabeller().identity()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ first }\n", "mine.jinja"),
        ("{{ nothing }}", "'nothing' is undefined"),
        ("{{ ''.__class__.__mro__ }}", "unsafe|undefined"),
    ],
)
def test_bad_templates_are_named(battles, tmp_path, text, words):
    path = tmp_path / "mine.jinja"
    path.write_text(text)
    with pytest.raises(MisodiceError, match=words):
        LLMLabeller(template=str(path)).check(battles)
    with pytest.raises(MisodiceError, match="template"):
        LLMLabeller(template=str(tmp_path / "absent")).check(battles)
