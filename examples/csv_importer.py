"""An importer of one's own: a CSV file with one line for each agent and step, such as rendezvous_log.csv.

misodice convert --input examples/rendezvous_log.csv --output data/log.h5 --format examples.csv_importer.CsvImporter --env examples.rendezvous.Rendezvous
"""  # noqa: E501

from collections.abc import Iterator

import numpy as np

from misodice import Episode, Importer
from misodice.data.importers.base import fault, reading, without_last_observation


class CsvImporter(Importer):
    """Columns episode, step, agent, action and reward, then those of the observation; lines are in that order.

    Actions are whole numbers, and all of them may always be taken. The state is the agents' observations side by side.
    The file lacks what was observed after the last step: the observation before it is repeated.
    """

    name = "csv"
    layout = "CSV with episode, step, agent, action, reward and what was observed"
    last_observation = "repeated"

    def open(self) -> None:
        with reading(self.path, "CSV"):
            self.rows = np.genfromtxt(self.path, delimiter=",", skip_header=1)
        if self.rows.ndim != 2 or self.rows.shape[1] < 6 or np.isnan(self.rows).any():
            raise fault(self.path, "columns", f"shape {self.rows.shape}", "6 or more columns, and numbers alone")
        self.discrete, self.numbers = True, np.unique(self.rows[:, 0])
        self.n_agents, self.n_actions = (int(self.rows[:, column].max()) + 1 for column in (2, 3))
        self.total = len(self.numbers)

    def peak(self) -> float:
        return 0.0  # asked for continuous actions alone

    def episodes(self) -> Iterator[Episode]:
        for number in self.numbers:
            self.done += 1
            rows = self.rows[self.rows[:, 0] == number]
            if len(rows) % self.n_agents:
                raise fault(self.path, f"episode {number:g}", f"{len(rows)} lines", f"{self.n_agents} for each step")
            table = rows.reshape(-1, self.n_agents, rows.shape[1])
            obs = table[..., 5:].astype(np.float32)
            available = np.ones((*obs.shape[:2], self.n_actions), bool)
            yield without_last_observation(
                obs, obs.reshape(len(obs), -1), table[..., 3].astype(np.int64), table[..., 4], available
            )
