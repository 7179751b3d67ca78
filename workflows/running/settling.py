"""Teams that are settled over all questions of a run, before its first session.

Rules such as trim and expert choice need every question at once (``protocols/grouping.py``): what
they decide is an asset of the cast. So it is part of a session's identity, and a run with other
questions has other sessions of such a rule.
"""

from __future__ import annotations

from collections.abc import Sequence

from protocols.cast import Cast
from protocols.contract import Protocol
from protocols.evidence import cast_evidence
from protocols.question import Question
from protocols.routing.group import TEAMS


def settled(protocol: Protocol, questions: Sequence[Question], cast: Cast, seed: int) -> Cast:
    """Return the cast with the teams of all questions, where `protocol` needs any.

    What its rule learns from is told which questions are coming.

    Args:
        protocol: with its parameters.
        questions: all that are asked together; their ids differ.
        cast: with what the protocol's rule reads.
        seed: of the run.
    """
    announce(questions, cast)
    if TEAMS not in protocol.assets():
        return cast
    from protocols.grouping import with_teams

    return with_teams(protocol, questions, cast, seed)


def announce(questions: Sequence[Question], cast: Cast) -> None:
    """Tell what rules learn from which questions are coming; it saves time and changes nothing."""
    from protocols.recruiting import SOLVER
    from protocols.routing.measured import measured_pool

    evidence = cast_evidence(cast.assets)
    if evidence is None or SOLVER not in cast.members:
        return
    pool = {member.expert for member in cast.members[SOLVER]}
    measured_pool(evidence, sorted(pool)).expect(questions)
