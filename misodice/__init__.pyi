"""The public names and where they come from: misodice/__init__.py reads this file."""

from .data.episodes import (
    Episode as Episode,
    Episodes as Episodes,
    EpisodesWriter as EpisodesWriter,
    Header as Header,
)
from .data.importers import Importer as Importer
from .data.preferences import Preferences as Preferences
from .datamodules.base import StageData as StageData
from .datamodules.inputs import Inputs as Inputs
from .datamodules.options import Data as Data
from .envs import (
    SMAC as SMAC,
    SMAX as SMAX,
    Actor as Actor,
    Engine as Engine,
    MaMuJoCo as MaMuJoCo,
    Source as Source,
    StarCraft2 as StarCraft2,
    TeamEnv as TeamEnv,
)
from .errors import MisodiceError as MisodiceError
from .experiment import Experiment as Experiment
from .labelling import (
    Describer as Describer,
    Labeller as Labeller,
    Labels as Labels,
    LLMLabeller as LLMLabeller,
    OracleLabeller as OracleLabeller,
    RecordedLabeller as RecordedLabeller,
    RuleLabeller as RuleLabeller,
)
from .modules import (
    OMAPL as OMAPL,
    ActionHead as ActionHead,
    AgentMLP as AgentMLP,
    ByEpisode as ByEpisode,
    CategoricalHead as CategoricalHead,
    CloneWeights as CloneWeights,
    Discriminator as Discriminator,
    GaussianHead as GaussianHead,
    HyperMixer as HyperMixer,
    IndependentMixer as IndependentMixer,
    LinearMixer as LinearMixer,
    Mixer as Mixer,
    Network as Network,
    Policy as Policy,
    QMIXMixer as QMIXMixer,
    RewardModel as RewardModel,
    RewardStage as RewardStage,
    Stage as Stage,
    TopP as TopP,
    Value as Value,
    VDNMixer as VDNMixer,
    Weighting as Weighting,
)
from .result import Result as Result
from .rollout.collect import collect as collect
from .rollout.evaluation import Rollout as Rollout
from .runs.parts import Part as Part

__version__: str
