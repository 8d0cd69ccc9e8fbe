"""Phase 1's labellers (paper 4 and B.2)."""

from misodice.labelling.base import Labeller
from misodice.labelling.describe.base import Describer
from misodice.labelling.describe.units import UnitDescriber
from misodice.labelling.job import LabelJob
from misodice.labelling.labels import Labels
from misodice.labelling.llm.labeller import LLMLabeller
from misodice.labelling.oracle import OracleLabeller
from misodice.labelling.recorded import RecordedLabeller
from misodice.labelling.rule import RuleLabeller

__all__ = [
    "Describer",
    "LLMLabeller",
    "LabelJob",
    "Labeller",
    "Labels",
    "OracleLabeller",
    "RecordedLabeller",
    "RuleLabeller",
    "UnitDescriber",
]
