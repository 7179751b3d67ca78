"""What becomes of an attempt: accepted, made again, or made by a fallback.

An expert's fallbacks take over, in their order, when its attempts are spent on provider failures
and timeouts, when it was throttled for too long, when its endpoint is given up, and at once while
the circuit of its endpoint is open. The ask stays what it is, with the key of the expert that was
cast; the record of the attempt says who served it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from agents.engine import Attempted
from agents.roster import Expert
from orchestrator.journal import ReplyRecord
from orchestrator.limits.gates import Gates
from orchestrator.limits.retry import Accept, RetryPolicy, TryAgain
from orchestrator.live import Pending
from orchestrator.planner.plan import AsksArrived, Planner
from protocols.replies import Reply, failed


class Routes:
    """See the module's theory."""

    def __init__(self, experts: Iterable[Expert], retry: RetryPolicy, gates: Gates) -> None:
        """Take note of who falls back to whom.

        Args:
            experts: all that may be asked; fallbacks that are not among them are passed over.
            retry: when to try again.
            gates: of their endpoints.
        """
        known = {one.label: one for one in experts}
        self.gates = gates
        self._retry = retry
        self._models = {label: one.model for label, one in known.items()}
        self._fallbacks = {
            label: tuple([other for other in one.fallbacks if other in known])
            for label, one in known.items()
            if one.fallbacks
        }
        self._shut: set[str] = set()

    def decide(
        self, pending: Pending, result: Attempted, *, final: bool = False
    ) -> Accept | TryAgain:
        """Say what becomes of an attempt, and count it.

        Args:
            pending: the ask.
            result: what the engine gave.
            final: its expert cannot be asked again, whatever its policy.
        """
        pending.count(result)
        if final:
            assert isinstance(result, Reply)
            decision: Accept | TryAgain = Accept(result)
        else:
            decision = self._retry.decide(
                result, pending.failures, throttles=pending.throttles, spent_s=pending.spent_s
            )
        if isinstance(decision, TryAgain):
            pending.spent_s += decision.wait_s
            return decision
        failure = decision.reply.failure
        if failure is not None and failure.missing and (other := self._next(pending)):
            return TryAgain(decision.reply, 0.0, expert=other)
        return decision

    def route(self, items: Sequence[Pending], now: float) -> Sequence[Pending]:
        """Turn asks away from endpoints that do not answer, where they have a fallback."""
        if self._fallbacks:
            for pending in items:
                while self.gates.is_shut(pending.expert, now) and (other := self._next(pending)):
                    pending.turn_to(other)
        return items

    def reroute(self, planner: Planner, now: float) -> None:
        """Do the same for what waits in the queues of an endpoint that has just been shut."""
        if not self._fallbacks:
            return
        shut = set(self.gates.shut(now))
        new, self._shut = shut - self._shut, shut
        for expert in sorted(new):
            items = [item for item in planner.drain(expert) if isinstance(item, Pending)]
            if items:
                planner.apply(AsksArrived(self.route(items, now)), now)

    def hopeless(self, planner: Planner, now: float) -> list[tuple[str, Reply]]:
        """Return the experts that cannot serve what waits for them, with what it ends as."""
        if planner.cancelled:
            return []
        stranded = [
            (expert, failed("provider", message, cause="load_failed"))
            for expert, message in planner.stranded()
        ]
        return stranded + self.gates.given_up(now)

    def signed(self, pending: Pending, record: ReplyRecord) -> ReplyRecord:
        """Return the record of an attempt with who served it, where that is not who was cast."""
        if not pending.fell_back:
            return record
        reply = record.reply
        if not reply.failed and reply.model_served is None:
            reply = replace(reply, model_served=self._models[pending.expert])
        return replace(record, reply=reply, served_by=pending.expert, cache_key=None)

    def _next(self, pending: Pending) -> str | None:
        """Return the fallback after the expert that is asked now; None: there is none."""
        chain = (pending.ask.seat.expert, *self._fallbacks.get(pending.ask.seat.expert, ()))
        after = chain.index(pending.expert) + 1
        return chain[after] if after < len(chain) else None
