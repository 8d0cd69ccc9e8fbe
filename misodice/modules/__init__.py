"""The stages and what they are made of."""

from misodice.modules.discriminator import Discriminator
from misodice.modules.mixers import HyperMixer, IndependentMixer, LinearMixer, Mixer, QMIXMixer, VDNMixer
from misodice.modules.omapl import OMAPL
from misodice.modules.policy import Policy
from misodice.modules.reward_model import RewardModel
from misodice.modules.reward_stage import Preference
from misodice.modules.value import Value

__all__ = [
    "OMAPL",
    "Discriminator",
    "HyperMixer",
    "IndependentMixer",
    "LinearMixer",
    "Mixer",
    "Policy",
    "Preference",
    "QMIXMixer",
    "RewardModel",
    "VDNMixer",
    "Value",
]
