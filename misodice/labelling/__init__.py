"""Phase 1's labellers (paper 4 and B.2)."""

from misodice.labelling.base import Labeller
from misodice.labelling.llm.labeller import LLMLabeller
from misodice.labelling.oracle import OracleLabeller
from misodice.labelling.recorded import RecordedLabeller
from misodice.labelling.rule import RuleLabeller

__all__ = ["LLMLabeller", "Labeller", "OracleLabeller", "RecordedLabeller", "RuleLabeller"]
