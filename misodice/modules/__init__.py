"""The three stages of Phase 2 and what they are made of."""

from misodice.modules.discriminator import Discriminator
from misodice.modules.mixers import HyperMixer, IndependentMixer, LinearMixer, Mixer, QMIXMixer, VDNMixer
from misodice.modules.policy import Policy
from misodice.modules.value import Value

__all__ = [
    "Discriminator",
    "HyperMixer",
    "IndependentMixer",
    "LinearMixer",
    "Mixer",
    "Policy",
    "QMIXMixer",
    "VDNMixer",
    "Value",
]
