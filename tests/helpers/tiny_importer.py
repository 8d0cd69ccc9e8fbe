"""An importer of a user's own: episodes as JSON, one a line."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np

from misodice.data.episodes import Episode
from misodice.data.importers import Importer


class JsonImporter(Importer):
    """Lines {"obs": [L+1][n][O], "actions": [L][n], "rewards": [L]} of a team whose actions may always be taken."""

    name = "json_lines"
    layout = "a line of JSON for each episode"
    last_observation = "kept"
    n_actions = 3

    def open(self) -> None:
        self.discrete = True
        self.lines = self.path.read_text().splitlines()
        self.total = len(self.lines)
        self.checked_total()

    def peak(self) -> float:
        return 0.0

    def episodes(self) -> Iterator[Episode]:
        for index, line in enumerate(self.lines):
            self.done = index + 1
            fields = json.loads(line)
            obs, actions = np.array(fields["obs"], np.float32), np.array(fields["actions"])
            ends = np.arange(len(actions)) == len(actions) - 1
            yield Episode(
                obs=obs,
                state=obs.reshape(len(obs), -1),
                actions=actions,
                terminated=ends,
                truncated=np.zeros(len(actions), bool),
                rewards=np.array(fields["rewards"], np.float32),
                available_actions=np.ones((*obs.shape[:2], self.n_actions), bool),
            )
