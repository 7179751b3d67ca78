"""Debate before a judge who cannot read what the debaters read.

Schedule: ``({A,B})*, J``; sequential ``{A,B}, (A>B)*, J``; interactive ``{A,B}, (Q,{A,B})*, J``.
In every round both debaters speak: at once, neither seeing what the other says in it, or from
round 2 on one after the other. After the last round the judge reads all closed rounds and
decides, in one or both answer orders. Debater A argues for option A of the question, B for
option B. In an open debate the protagonist first chooses its side and the opponent takes the
other; both orders share the choice.

Who sees what. Debaters: the passage, the closed rounds (their own speech before the opponent's),
questions, and as the second speaker of a round the first one's speech; never a letter or name of
either side, so that the speeches read the same in both orders. Questioner: question, options and
closed rounds. Judge: the same, A before B, with every quotation marked as verified or not; in the
second order options, speeches and letters are exchanged and the reading is mapped back. Where
what is said depends on who stands first (sequential, interactive) the debate is held anew for the
second order.

Price: ``2r + 2`` at once; ``2(2r + 1)`` one after the other; ``6r`` with a shared question,
``2(4r - 1)`` with one for each side; half of these (``2r + 1`` at once) with one order; 1 more for
a choice of side; twice as much with ``sides: both`` and two debaters. A speech that is drafted,
re-asked or refined counts with all its asks (``speaking.Manner.most``).

Sources: Khan et al. 2402.06782 (simultaneous debate, three rounds, verified quotes, hidden
thinking, both orders); Kenton et al. 2407.04622 (a weak judge of strong debaters, open debate).
Departures: the judge samples as the roster says (the papers: temperature 0); a debater's prompt
says nothing about its persuasion style; the opening of a sequential debate is simultaneous, so
that neither side has the first and the last word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from protocols.asks import Seat
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.contract import Role
from protocols.errors import Mistake
from protocols.oversight import SHARED_TEMPLATES, Case, Oversight, Sides
from protocols.question import Question
from protocols.staging import Interactive, Plan, party
from protocols.transcript import Words

ROLE = "debater"
WORDS = Words("debate", ROLE)


class Debate(Oversight):
    """Two debaters argue for one option each; a judge who read only the debate decides."""

    kind: ClassVar[str] = "debate"
    version: ClassVar[int] = 1
    about: ClassVar[str] = "Two debaters argue for one option each before a judge."
    templates: ClassVar[tuple[str, ...]] = (WORDS.template, *SHARED_TEMPLATES)

    order: Literal["simultaneous", "sequential"] = "simultaneous"
    """Whether both speak at once, or from round 2 on the second hears the first."""
    interactive: Interactive = "none"
    """Whether a questioner (else the judge) asks from round 2 on: one question to both, or one to
    each."""
    open: bool = False
    """Whether one debater, the protagonist, chooses its side and the other takes what is left."""
    sides: Sides = "random"
    """Who of two experts takes which side (of an open debate: who is the protagonist): drawn; both
    assignments, at twice the price; or A or B for the expert that is cast first. With one expert
    it changes nothing."""

    def roles(self) -> tuple[Role, ...]:
        """Return the roles: one or two debaters, a judge, and those that the parameters need."""
        about = "argues for the option assigned to it; one expert argues both sides, two one each"
        debater = Role(ROLE, about, many=True, reads_passage=True, draws=True)
        return (debater, *self._shared_roles(self.interactive))

    def _plan(self, question: Question, cast: Cast) -> Plan:
        sequential = self.order == "sequential"
        return self._planned(
            question, cast, WORDS, interactive=self.interactive, sequential=sequential
        )

    def _opens(self) -> bool:
        return self.open

    def _speakers(self, cast: Cast) -> tuple[tuple[int, ...], ...]:
        count = debater_count(cast, ROLE)
        pair = (0, count - 1)
        return (pair, pair) if self.sides == "both" and count == 2 else (pair,)

    def _firsts(self, cast: Cast, rng: Rng) -> tuple[int, ...]:
        return first_experts(self.sides, debater_count(cast, ROLE), rng)

    def _choosers(self, cast: Cast, rng: Rng) -> tuple[Seat, ...]:
        if not self.open:
            return ()
        firsts = self._firsts(cast, rng)
        return tuple(
            cast.seat(ROLE, first, name=f"protagonist{_suffix(case)}")
            for case, first in enumerate(firsts)
        )

    def _cases(self, plan: Plan, rng: Rng, chosen: Sequence[int]) -> tuple[Case, ...]:
        """Return a case for each assignment of the experts to the sides."""
        count = debater_count(plan.cast, ROLE)
        cases = []
        for number, first in enumerate(self._firsts(plan.cast, rng)):
            on_a = first
            if chosen and chosen[number] == 1:
                on_a = count - 1 - first
            experts = (on_a, count - 1 - on_a)
            seats = pair_of_seats(plan.cast, ROLE, experts, _suffix(number))
            parties = (party(plan, 0, seats[0]), party(plan, 1, seats[1]))
            manners = (self._manners[experts[0]], self._manners[experts[1]])
            side = chosen[number] if chosen else self._side_of_first(count, on_a)
            by = "" if side is None else seats[side].expert
            stagings = self._stagings(plan, parties, manners)
            cases.append(Case(side, by, bool(chosen), stagings))
        return tuple(cases)

    def _side_of_first(self, count: int, on_a: int) -> int | None:
        """Return the side of the expert cast first, where both assignments are compared."""
        if count == 1 or self.sides != "both":
            return None
        return 0 if on_a == 0 else 1


def debater_count(cast: Cast, role: str) -> int:
    """Return how many experts argue: 1 (both sides) or 2 (one each).

    Raises:
        Mistake: nobody, or more than two experts, are cast.
    """
    count = len(cast.role(role))
    if count > 2:
        raise Mistake(f"{count} experts are cast as {role!r}; cast one, or two")
    return count


def first_experts(sides: Sides, count: int, rng: Rng) -> tuple[int, ...]:
    """Return, for each case, which of `count` experts argues for A."""
    if count == 1:
        return (0,)
    if sides == "both":
        return (0, 1)
    return (rng.child("sides").integer(2) if sides == "random" else "AB".index(sides),)


def pair_of_seats(
    cast: Cast, role: str, experts: tuple[int, int], suffix: str
) -> tuple[Seat, Seat]:
    """Return the seats of A and B, filled by these experts."""
    return (
        cast.seat(role, experts[0], name=f"{role}_a{suffix}"),
        cast.seat(role, experts[1], name=f"{role}_b{suffix}"),
    )


def _suffix(case: int) -> str:
    return f"_{case + 1}" if case else ""
