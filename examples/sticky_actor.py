"""An actor of one's own: it plays at random, but often does once more what it did last.

misodice collect --output data/sticky.h5 --env examples.rendezvous.Rendezvous --sources '[{behaviour: {class_path: examples.sticky_actor.StickyActor, init_args: {share: 0.8}}, episodes: 50, source: sticky}]'
"""  # noqa: E501

import numpy as np

from misodice import Actor, TeamEnv
from misodice.envs import Observation


class StickyActor(Actor):
    """Takes the action before again with probability `share`, where it is available; otherwise any available one.

    Args:
        env: where it acts.
        share: probability of doing the same again.
    """

    def __init__(self, env: TeamEnv, share: float = 0.7) -> None:
        self.env, self.share = env, share

    def reset(self, n_envs: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.last = np.zeros((n_envs, self.env.n_agents), np.int64)

    def act(self, observation: Observation) -> np.ndarray:
        available = observation["available_actions"]
        drawn = np.where(available, self.rng.random(available.shape), -1.0).argmax(axis=-1)
        can_repeat = np.take_along_axis(available, self.last[..., None], axis=-1)[..., 0]
        again = can_repeat & (self.rng.random(self.last.shape) < self.share)
        self.last = np.where(again, self.last, drawn)
        return self.last
