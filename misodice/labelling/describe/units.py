"""A StarCraft battle in words, from named state features only (paper B.2.2).

Returns, rewards, outcomes and sources are never read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

from misodice.data.episodes import Episode, Episodes
from misodice.envs import engine_of_file
from misodice.errors import MisodiceError
from misodice.labelling.describe.base import Describer, tokens
from misodice.labelling.describe.features import Unit, units_of


class UnitDescriber(Describer):
    """Tells a battle of two teams of units: who lives, with what health, where, and what the allies do.

    It reads features that are named by unit (see `features.py`).

    Args:
        moments: how many moments before the last state are described, spread over the episode.
    """

    wording = 1

    def __init__(self, moments: int = 4) -> None:
        if moments < 0:
            raise MisodiceError(f"UnitDescriber: moments is {moments}, expected at least 0; change it")
        self.moments = moments

    def describe(self, episodes: Episodes, max_tokens: int) -> Callable[[int], str]:
        return Battles(episodes, self.moments, max_tokens)


class Battles:
    """Describes the episodes of one file.

    Args:
        episodes: the file.
        moments: how many moments before the last state are described.
        max_tokens: of one episode's description. The earliest moments give way first, then the single units.

    Raises:
        MisodiceError: the state's features have no names of units, or the actions are continuous.
    """

    def __init__(self, episodes: Episodes, moments: int, max_tokens: int) -> None:
        self.episodes, self.moments, self.max_tokens = episodes, moments, max_tokens
        self.teams = units_of(episodes)
        engine = engine_of_file(episodes.header.env)
        self.moves = engine.basic_actions if engine else ()
        self._known: dict[int, str] = {}

    def __call__(self, index: int) -> str:
        """The description of one episode, at most `max_tokens` long.

        Raises:
            MisodiceError: not even the shortest description fits.
        """
        if index not in self._known:
            self._known[index] = self._fit(self.episodes[index])
        return self._known[index]

    def _fit(self, episode: Episode) -> str:
        length = len(episode)
        steps = sorted({length * part // (self.moments + 1) for part in range(self.moments + 1)})
        head = f"Length: {length} steps.\n{self._action_shares(episode)}"
        earlier = [self._moment(episode, step) for step in steps if step < length][: self.moments]
        for units in (True, False):
            last = self._last(episode, units)
            for left_out in range(len(earlier) + 1):
                text = "\n".join([head, *earlier[left_out:], last])
                if tokens(text) <= self.max_tokens:
                    return text
        raise MisodiceError(
            f"UnitDescriber: the shortest description of an episode takes {tokens(text)} tokens and "
            f"labeller.prompt_tokens leaves {self.max_tokens}; raise it"
        )

    def _moment(self, episode: Episode, step: int) -> str:
        row = episode.state[step]
        doing = Counter(self._action(unit, action, row) for unit, action in self._acting(episode, step))
        actions = ", ".join(f"{count} × {what}" for what, count in doing.most_common())
        return (
            f"After {step} of {len(episode)} steps:\n{self._teams(episode, row)}\nAllies now: {actions or 'nothing'}."
        )

    def _last(self, episode: Episode, units: bool) -> str:
        row, last_step = episode.state[-1], len(episode) - 1
        lines = [f"Final state, after all {len(episode)} steps:", self._teams(episode, row)]
        if units:
            acting = {unit.name: action for unit, action in self._acting(episode, last_step)}
            for unit in (unit for team in self.teams.values() for unit in team if unit.alive(row)):
                action = acting.get(unit.name)
                did = "" if action is None else f", last: {self._action(unit, action, episode.state[last_step])}"
                lines.append(f"- {self._unit(unit, episode, row)}{did}")
        return "\n".join(lines)

    def _teams(self, episode: Episode, row: np.ndarray) -> str:
        lines = [self._team(team, episode, row) for team in ("ally", "enemy")]
        places = [self._centre(team, row) for team in ("ally", "enemy")]
        if places[0] is not None and places[1] is not None:
            lines.append(f"Distance between the teams' centres: {np.linalg.norm(places[0] - places[1]):.3g}.")
        return "\n".join(lines)

    def _team(self, team: str, episode: Episode, row: np.ndarray) -> str:
        units = self.teams[team]
        alive = [unit for unit in units if unit.alive(row)]
        fallen = Counter(unit.kind(episode.state[0]) for unit in units if not unit.alive(row))
        dead = f" (dead: {', '.join(f'{count} {kind}' for kind, count in sorted(fallen.items()))})" if fallen else ""
        shares = [self._share(team, quantity, episode, row) for quantity in ("health", "shield")]
        name = {"ally": "Allies", "enemy": "Enemies"}[team]
        return f"{name}: {len(alive)} of {len(units)} alive{dead}{''.join(shares)}."

    def _share(self, team: str, quantity: str, episode: Episode, row: np.ndarray) -> str:
        units = [unit for unit in self.teams[team] if quantity in unit.columns]
        start = sum(unit.value(episode.state[0], quantity) for unit in units)
        left = sum(unit.value(row, quantity) for unit in units)
        return f", {100 * left / start:.0f}% of the team's {quantity} left" if start > 0 else ""

    def _centre(self, team: str, row: np.ndarray) -> np.ndarray | None:
        places = [place for unit in self.teams[team] if unit.alive(row) and (place := unit.place(row)) is not None]
        return np.mean(places, axis=0) if places else None

    def _unit(self, unit: Unit, episode: Episode, row: np.ndarray) -> str:
        kind = unit.kind(episode.state[0])
        parts = [
            f"{quantity} {_number(unit.value(row, quantity))}"
            for quantity in ("health", "shield")
            if quantity in unit.columns
        ]
        place = unit.place(row)
        if place is not None:
            parts.append(f"at ({place[0]:.3g}, {place[1]:.3g})")
            parts += self._nearest(unit, place, row)
        if "cooldown" in unit.columns:
            value = unit.value(row, "cooldown")
            # smacv2 puts a medivac's energy where the others have their cooldown.
            what = f"energy {value:.2g}" if kind == "medivac" else f"cooldown {value:.2g}" if value > 0 else "ready"
            parts.append(what)
        if "energy" in unit.columns:
            parts.append(f"energy {unit.value(row, 'energy'):.2g}")
        return f"{unit.name} {kind}: {', '.join(parts)}"

    def _nearest(self, unit: Unit, place: np.ndarray, row: np.ndarray) -> list[str]:
        foes = self.teams["enemy" if unit.team == "ally" else "ally"]
        distances = [
            (float(np.linalg.norm(there - place)), foe.name)
            for foe in foes
            if foe.alive(row) and (there := foe.place(row)) is not None
        ]
        if unit.team == "enemy" or not distances:
            return []
        distance, name = min(distances)
        return [f"nearest {name} at distance {distance:.2g}"]

    def _acting(self, episode: Episode, step: int) -> list[tuple[Unit, int]]:
        """The living allies with what they do in a step; the dead can only wait."""
        row = episode.state[step]
        return [(unit, int(episode.actions[step, i])) for i, unit in enumerate(self.teams["ally"]) if unit.alive(row)]

    def _action(self, unit: Unit, action: int, row: np.ndarray) -> str:
        if not self.moves:
            return f"action {action}"
        if action < len(self.moves):
            return self.moves[action]
        target = action - len(self.moves)
        return f"heal ally_{target}" if unit.kind(row) == "medivac" else f"attack enemy_{target}"

    def _action_shares(self, episode: Episode) -> str:
        verbs: Counter[str] = Counter()
        for step in range(len(episode)):
            row = episode.state[step]
            words = (self._action(unit, action, row) for unit, action in self._acting(episode, step))
            verbs.update(word.split()[0] if self.moves else word for word in words)
        total = sum(verbs.values())
        shares = ", ".join(f"{verb} {100 * count / total:.0f}%" for verb, count in verbs.most_common())
        return f"What living allies did, over the whole episode: {shares}."


def _number(share: float) -> str:
    """Health and shields are shares of what the unit can have; a file may hold points instead."""
    return f"{100 * share:.0f}%" if share <= 1 else f"{share:.0f}"
