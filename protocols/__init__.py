"""Protocols: pure procedures that turn a question and a cast into an outcome.

Names are loaded from their modules when they are first used, so that importing the package costs
next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from protocols.asks import Ask as Ask
    from protocols.asks import Model as Model
    from protocols.asks import Sampling as Sampling
    from protocols.asks import Seat as Seat
    from protocols.ballots import Ballot as Ballot
    from protocols.ballots import Vote as Vote
    from protocols.ballots import tally as tally
    from protocols.cast import Asset as Asset
    from protocols.cast import Cast as Cast
    from protocols.cast import Member as Member
    from protocols.chance import Rng as Rng
    from protocols.compose import ask_one as ask_one
    from protocols.compose import together as together
    from protocols.consultancy import Consultancy as Consultancy
    from protocols.consultancy import DoubleConsultancy as DoubleConsultancy
    from protocols.contract import CallBound as CallBound
    from protocols.contract import Protocol as Protocol
    from protocols.contract import Role as Role
    from protocols.contract import Session as Session
    from protocols.debate import Debate as Debate
    from protocols.direct_answer import DirectAnswer as DirectAnswer
    from protocols.errors import ContractBroken as ContractBroken
    from protocols.errors import ForkImpossible as ForkImpossible
    from protocols.errors import Mistake as Mistake
    from protocols.errors import MootError as MootError
    from protocols.errors import ProtocolError as ProtocolError
    from protocols.errors import ReplayDiverged as ReplayDiverged
    from protocols.messages import Message as Message
    from protocols.messages import Part as Part
    from protocols.messages import Place as Place
    from protocols.moderated_debate import ModeratedDebate as ModeratedDebate
    from protocols.multiagent_debate import MultiagentDebate as MultiagentDebate
    from protocols.nyu import NyuConsultancy as NyuConsultancy
    from protocols.nyu import NyuDebate as NyuDebate
    from protocols.nyu_rules import NyuRules as NyuRules
    from protocols.offline_judge import OfflineJudge as OfflineJudge
    from protocols.outcome import Outcome as Outcome
    from protocols.parsing import Parsed as Parsed
    from protocols.parsing import Unparsed as Unparsed
    from protocols.parsing import canonical_answer as canonical_answer
    from protocols.parsing import read_answer as read_answer
    from protocols.peer_review import PeerReview as PeerReview
    from protocols.plurality import Plurality as Plurality
    from protocols.profile import SkillProfile as SkillProfile
    from protocols.question import Question as Question
    from protocols.quoting import quoted_part as quoted_part
    from protocols.reconcile import Reconcile as Reconcile
    from protocols.registry import PROTOCOLS as PROTOCOLS
    from protocols.registry import make_protocol as make_protocol
    from protocols.registry import register as register
    from protocols.replies import Failure as Failure
    from protocols.replies import Reply as Reply
    from protocols.self_consistency import SelfConsistency as SelfConsistency
    from protocols.self_refine import SelfRefine as SelfRefine
    from protocols.symbolic_moe import SymbolicMoE as SymbolicMoE
    from protocols.tape import Finished as Finished
    from protocols.tape import Frontier as Frontier
    from protocols.tape import advance as advance
    from protocols.tape import resume as resume

_HOMES = {
    "Ask": "asks",
    "Asset": "cast",
    "Ballot": "ballots",
    "CallBound": "contract",
    "Cast": "cast",
    "Consultancy": "consultancy",
    "ContractBroken": "errors",
    "Debate": "debate",
    "DirectAnswer": "direct_answer",
    "DoubleConsultancy": "consultancy",
    "Failure": "replies",
    "Finished": "tape",
    "ForkImpossible": "errors",
    "Frontier": "tape",
    "Member": "cast",
    "Message": "messages",
    "Mistake": "errors",
    "Model": "asks",
    "ModeratedDebate": "moderated_debate",
    "MootError": "errors",
    "MultiagentDebate": "multiagent_debate",
    "NyuConsultancy": "nyu",
    "NyuDebate": "nyu",
    "NyuRules": "nyu_rules",
    "OfflineJudge": "offline_judge",
    "Outcome": "outcome",
    "PROTOCOLS": "registry",
    "Parsed": "parsing",
    "Part": "messages",
    "PeerReview": "peer_review",
    "Place": "messages",
    "Plurality": "plurality",
    "Protocol": "contract",
    "ProtocolError": "errors",
    "Question": "question",
    "Reconcile": "reconcile",
    "ReplayDiverged": "errors",
    "Reply": "replies",
    "Rng": "chance",
    "Role": "contract",
    "Sampling": "asks",
    "Seat": "asks",
    "SelfConsistency": "self_consistency",
    "SelfRefine": "self_refine",
    "Session": "contract",
    "SkillProfile": "profile",
    "SymbolicMoE": "symbolic_moe",
    "Unparsed": "parsing",
    "Vote": "ballots",
    "advance": "tape",
    "ask_one": "compose",
    "canonical_answer": "parsing",
    "make_protocol": "registry",
    "quoted_part": "quoting",
    "read_answer": "parsing",
    "register": "registry",
    "resume": "tape",
    "tally": "ballots",
    "together": "compose",
}

__all__ = [
    "PROTOCOLS",
    "Ask",
    "Asset",
    "Ballot",
    "CallBound",
    "Cast",
    "Consultancy",
    "ContractBroken",
    "Debate",
    "DirectAnswer",
    "DoubleConsultancy",
    "Failure",
    "Finished",
    "ForkImpossible",
    "Frontier",
    "Member",
    "Message",
    "Mistake",
    "Model",
    "ModeratedDebate",
    "MootError",
    "MultiagentDebate",
    "NyuConsultancy",
    "NyuDebate",
    "NyuRules",
    "OfflineJudge",
    "Outcome",
    "Parsed",
    "Part",
    "PeerReview",
    "Place",
    "Plurality",
    "Protocol",
    "ProtocolError",
    "Question",
    "Reconcile",
    "ReplayDiverged",
    "Reply",
    "Rng",
    "Role",
    "Sampling",
    "Seat",
    "SelfConsistency",
    "SelfRefine",
    "Session",
    "SkillProfile",
    "SymbolicMoE",
    "Unparsed",
    "Vote",
    "advance",
    "ask_one",
    "canonical_answer",
    "make_protocol",
    "quoted_part",
    "read_answer",
    "register",
    "resume",
    "tally",
    "together",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module, once."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'protocols' has no attribute {name!r}")
    value = getattr(import_module(f"protocols.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
