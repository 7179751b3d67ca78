"""Consultancy: one consultant who can read the passage argues before a judge who cannot.

Schedule: ``(C)*, J``; interactive ``C, (Q,C)*, J``; open: the consultant chooses its side first;
double ``({C_A,C_B})*, J``, where the two never see each other. The last is the control for
debate: the judge hears both sides, but nobody answers anybody.

Who sees what. Consultant: passage, question, its answer and the other one, its own closed rounds
and the questions; no letter of either answer, so that its speeches read the same in both orders.
Questioner (else the judge): question, both answers without letters, closed rounds. Judge:
question, options, closed rounds with every quotation marked as verified or not. What is said does
not depend on the order of the options, so one conversation is read in both orders.

Sides. With ``sides: both`` a consultant argues for A and, in a conversation of its own, for B: once
for the right answer and once for the wrong one, whichever it is, and the outcome is the mean of
both. Which was honest is told from the outcome's ``sides`` when the key is joined.

Price, for one side: ``r + 2``, interactive ``2r + 1``, double ``2r + 2``; 1 less with one order; 1
more for a choice of side; twice as much with both sides (double: only where two are cast). A
speech that is drafted, re-asked or refined counts with all its asks.

Sources: Khan et al. 2402.06782 (honest and dishonest consultant on every question, interactive
judge); Kenton et al. 2407.04622 (assigned and open consultancy); Michael et al. 2311.08702.
Departure: a consultant is told neither to be honest nor to deceive, only which answer is its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from protocols.asks import Seat
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.contract import Role
from protocols.debate import debater_count, first_experts, pair_of_seats
from protocols.oversight import SHARED_TEMPLATES, Case, Oversight, Sides
from protocols.question import Question
from protocols.staging import Plan, party
from protocols.transcript import SIDES, Words

ROLE = "consultant"
WORDS = Words("consultancy", ROLE)


class Consultancy(Oversight):
    """One consultant argues for the side it was given, or chose.

    Price: ``r + 2`` for one side, interactive ``2r + 1``; twice as much with both sides; 1 less a
    side with one order; 1 more a side for a choice.
    """

    kind: ClassVar[str] = "consultancy"
    about: ClassVar[str] = "One consultant argues for one option before a judge."
    templates: ClassVar[tuple[str, ...]] = (WORDS.template, *SHARED_TEMPLATES)

    interactive: bool = False
    """Whether a questioner (else the judge) asks from round 2 on."""
    open: bool = False
    """Whether the consultant chooses its side; then `sides` is not used."""
    sides: Sides = "both"
    """Which option it argues for: one that is drawn, both (each in a conversation of its own, at
    twice the price), or a given one."""

    def roles(self) -> tuple[Role, ...]:
        """Return the roles: the consultant, the judge, and those that the parameters need."""
        about = "argues for one option"
        consultant = Role(ROLE, about, reads_passage=True, draws=True)
        return (consultant, *self._shared_roles("shared" if self.interactive else "none"))

    def _plan(self, question: Question, cast: Cast) -> Plan:
        interactive = "shared" if self.interactive else "none"
        return self._planned(question, cast, WORDS, interactive=interactive)

    def _opens(self) -> bool:
        return self.open

    def _speakers(self, cast: Cast) -> tuple[tuple[int, ...], ...]:
        return ((0,), (0,)) if self.sides == "both" and not self.open else ((0,),)

    def _choosers(self, cast: Cast, rng: Rng) -> tuple[Seat, ...]:
        return (cast.seat(ROLE),) if self.open else ()

    def _cases(self, plan: Plan, rng: Rng, chosen: Sequence[int]) -> tuple[Case, ...]:
        """Return a case for each side."""
        cases = []
        for side in chosen or consultant_sides(self.sides, rng):
            seat = plan.cast.seat(ROLE, name=f"{ROLE}_{SIDES[side].lower()}")
            manner = self._manners[0]
            stagings = self._stagings(plan, [party(plan, side, seat)], [manner])
            cases.append(Case(side, seat.expert, bool(chosen), stagings))
        return tuple(cases)


class DoubleConsultancy(Oversight):
    """Two consultants argue for one side each, and never hear each other.

    Price: ``2r + 2``; 1 less with one order; twice as much with both sides where two are cast.
    """

    kind: ClassVar[str] = "double_consultancy"
    about: ClassVar[str] = "Two consultants argue for one option each and never hear each other."
    templates: ClassVar[tuple[str, ...]] = (WORDS.template, *SHARED_TEMPLATES)

    sides: Sides = "random"
    """Who of two experts takes which side: drawn; both assignments, at twice the price; or A or B
    for the expert that is cast first. With one expert it changes nothing."""

    def roles(self) -> tuple[Role, ...]:
        """Return the roles: one or two consultants, the judge, those that the parameters need."""
        about = "argues for one option; one expert argues both sides, two one each"
        consultant = Role(ROLE, about, many=True, reads_passage=True, draws=True)
        return (consultant, *self._shared_roles("none"))

    def _plan(self, question: Question, cast: Cast) -> Plan:
        return self._planned(question, cast, WORDS, hear=False)

    def _speakers(self, cast: Cast) -> tuple[tuple[int, ...], ...]:
        count = debater_count(cast, ROLE)
        pair = (0, count - 1)
        return (pair, pair) if self.sides == "both" and count == 2 else (pair,)

    def _cases(self, plan: Plan, rng: Rng, chosen: Sequence[int]) -> tuple[Case, ...]:
        """Return a case for each assignment of the experts to the sides."""
        count = debater_count(plan.cast, ROLE)
        cases = []
        for number, first in enumerate(first_experts(self.sides, count, rng)):
            experts = (first, count - 1 - first)
            seats = pair_of_seats(plan.cast, ROLE, experts, f"_{number + 1}" if number else "")
            parties = (party(plan, 0, seats[0]), party(plan, 1, seats[1]))
            manners = (self._manners[experts[0]], self._manners[experts[1]])
            compared = count == 2 and self.sides == "both"
            side = (0 if first == 0 else 1) if compared else None
            by = "" if side is None else seats[side].expert
            cases.append(Case(side, by, False, self._stagings(plan, parties, manners)))
        return tuple(cases)


def consultant_sides(sides: Sides, rng: Rng) -> tuple[int, ...]:
    """Return the sides for which a consultant argues, each in a conversation of its own."""
    if sides == "both":
        return (0, 1)
    return (rng.child("sides").integer(2) if sides == "random" else SIDES.index(sides),)
