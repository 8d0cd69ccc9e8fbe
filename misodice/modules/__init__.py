"""The stages and what they are made of."""

from misodice.modules.clone_weights import CloneWeights
from misodice.modules.discriminator import Discriminator
from misodice.modules.heads import ActionHead, CategoricalHead, GaussianHead
from misodice.modules.mixers import HyperMixer, IndependentMixer, LinearMixer, Mixer, QMIXMixer, VDNMixer
from misodice.modules.networks import AgentMLP, Network
from misodice.modules.omapl import OMAPL
from misodice.modules.policy import Policy
from misodice.modules.reward_model import RewardModel
from misodice.modules.reward_stage import RewardStage
from misodice.modules.stage import Stage
from misodice.modules.value import Value
from misodice.modules.weighting import ByEpisode, TopP, Weighting

__all__ = [
    "OMAPL",
    "ActionHead",
    "AgentMLP",
    "ByEpisode",
    "CategoricalHead",
    "CloneWeights",
    "Discriminator",
    "GaussianHead",
    "HyperMixer",
    "IndependentMixer",
    "LinearMixer",
    "Mixer",
    "Network",
    "Policy",
    "QMIXMixer",
    "RewardModel",
    "RewardStage",
    "Stage",
    "TopP",
    "VDNMixer",
    "Value",
    "Weighting",
]
