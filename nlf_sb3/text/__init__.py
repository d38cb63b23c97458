"""Words into a training signal: encode, interpret and predict what was said."""

from nlf_sb3.action_names import ActionNames, Dimension
from nlf_sb3.text.corrections import Corrections, Interpreter, Remarks, Targets, correction_targets
from nlf_sb3.text.encoders import CachedEncoder, HashedNgrams, SentenceEncoder, TextEncoder
from nlf_sb3.text.learned import LearnedInterpreter
from nlf_sb3.text.prediction import TextPrediction
from nlf_sb3.text.rules import RuleInterpreter

__all__ = [
    "ActionNames",
    "CachedEncoder",
    "Corrections",
    "Dimension",
    "HashedNgrams",
    "Interpreter",
    "LearnedInterpreter",
    "Remarks",
    "RuleInterpreter",
    "SentenceEncoder",
    "Targets",
    "TextEncoder",
    "TextPrediction",
    "correction_targets",
]
