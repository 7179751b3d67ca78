"""The contract of a protocol. This is the core file; everything else stands on it.

Theory of operation. A protocol turns a question and a cast into an outcome. It is a frozen
pydantic model whose ``session()`` is a plain generator: it yields a turn (a tuple of asks), is
sent the replies in the same order, yields the next turn, and returns the outcome. The generator
owns control flow; nobody else knows what comes next. So a session can be tested without a model,
resumed after a crash (by feeding the recorded replies again), replayed with no call, forked at
any turn, and batched with thousands of others. ``yield from`` composes protocols, and
``compose.together`` advances several side by side.

Rules, held by tests:

1. Pure. The same question, cast, seed and replies give the same asks, in another process and
   under another hash seed. No clock, no I/O, no global random; the only randomness is the
   ``rng`` handed in. Iterate over sorted things, never over a set.
2. Suspend only at ``yield``. No async, no callbacks, no back-pointers.
3. Identity is what changes the output, and nothing else: ``Ask.key``.
4. Prompts are parts; a part that quotes a reply carries its origin.
5. Failure is data. A failed reply comes in like any other and the protocol decides on its
   quorum; nothing is ever replaced by a random or invented answer.
6. Unparsed is a value. Parsers never guess. Outcomes store the aggregation rule, the tie rule
   and what was unparsed; ties are explicit.
7. No gold in a session. Sides are assigned by the seeded rng, or both are run.
8. What others said is quoted data, inside delimiters that it cannot forge.
9. Visibility is a function of role, round and turn: simultaneous speeches stay hidden until both
   are in, a judge never sees half a round, only readers get the passage.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, field_validator

from protocols.asks import Ask
from protocols.canonical import canonical_json, sha256_hex
from protocols.cast import Cast
from protocols.chance import Rng
from protocols.outcome import Outcome
from protocols.question import Question
from protocols.replies import Reply

T = TypeVar("T")

Turn = tuple[Ask, ...]
Replies = tuple[Reply, ...]
Session = Generator[Turn, Replies, T]


@dataclass(frozen=True, slots=True)
class CallBound:
    """The fewest and the most asks that a session can make."""

    fewest: int
    most: int

    def __add__(self, other: CallBound) -> CallBound:
        return CallBound(self.fewest + other.fewest, self.most + other.most)


@dataclass(frozen=True, slots=True)
class Role:
    """A kind of place that a protocol declares."""

    name: str
    """``judge``, ``debater``, ``solver``..."""
    about: str
    """What an expert in this role does, in one line."""
    many: bool = False
    """Whether the role may hold several experts (a pool)."""
    optional: bool = False
    """Whether a cast may leave it empty."""
    reads_passage: bool = False
    """Whether it reads the passage unless the cast says otherwise."""
    draws: bool = False
    """Whether one expert is asked the same thing several times, or in more than one turn; experts
    that hold one recorded answer each cannot serve such a role."""
    scores: bool = False
    """Whether it is asked how likely a given text is (``Ask.score``); only experts whose engine can
    tell (``Capabilities.prompt_scoring``) can serve such a role, and no team."""


class Protocol(BaseModel, ABC):
    """A parametrised procedure. Subclasses are frozen, typed, versioned and pure."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]
    """The name in workflow files and in SQL, for example ``symbolic_moe``."""
    version: ClassVar[int] = 1
    """Raised whenever the same parameters would ask or conclude something else."""
    about: ClassVar[str]
    """One line for lists."""
    templates: ClassVar[tuple[str, ...]] = ()
    """The prompt files it uses, without ending; their text is part of a session's identity."""

    prompts: dict[str, str] = {}
    """Prompts in other words: ``template.section`` -> text (jinja2); see ``wording.py``. They are
    parameters like any other, and absent from `parameters` where there are none."""

    @field_validator("prompts", mode="before")
    @classmethod
    def _flatten_prompts(cls, prompts: object) -> object:
        from protocols.wording import flattened

        return flattened(prompts) if prompts else prompts

    @field_validator("prompts")
    @classmethod
    def _check_prompts(cls, prompts: dict[str, str]) -> dict[str, str]:
        from protocols.wording import check_prompts

        if prompts:
            check_prompts(prompts, cls.templates)
        return prompts

    @abstractmethod
    def roles(self) -> tuple[Role, ...]:
        """Return the roles that a cast must fill for these parameters."""

    @abstractmethod
    def session(self, question: Question, cast: Cast, rng: Rng) -> Session[Outcome]:
        """Start a session: yields turns of asks, is sent replies, returns the outcome."""

    @abstractmethod
    def calls(self, question: Question, cast: Cast) -> CallBound:
        """Return the fewest and the most asks of a session, whatever the replies are."""

    def role_calls(self, question: Question, cast: Cast) -> dict[str, CallBound]:
        """Return the bound for single roles, where one is known that is tighter than the whole.

        A role that is not named may make none or all of the session's asks. It matters where a
        seat of the role is filled by a team, which asks more than once in its place.
        """
        return {}

    def assets(self) -> tuple[str, ...]:
        """Return the names of the assets that a cast must hold for these parameters."""
        return ()

    def check_question(self, question: Question) -> str | None:
        """Say in one line why this protocol cannot take `question`, or return None."""
        return None

    def parameters(self) -> dict[str, Any]:
        """Return the parameters as JSON."""
        without = None if self.prompts else {"prompts"}
        return self.model_dump(mode="json", exclude=without)

    def digest(self) -> str:
        """SHA-256 (hex) over kind, version, parameters and prompt templates."""
        from protocols.prompts import templates_digest

        return sha256_hex(
            canonical_json(
                [self.kind, self.version, self.parameters(), templates_digest(self.templates)]
            )
        )


def session_key(
    protocol_digest: str, question: Question, cast: Cast, *, seed: int, repeat: int
) -> str:
    """Return the identity of a session: SHA-256 (hex), unique within its run.

    Budget, limits, fleet, store and retries are not identity.
    """
    return sha256_hex(canonical_json([protocol_digest, question.key, cast.digest, seed, repeat]))


def session_rng(question: Question, *, seed: int, repeat: int) -> Rng:
    """Return the randomness of a session.

    It is equal for every protocol on the same question, so that paired comparisons share draws.
    """
    return Rng("session", seed, repeat, question.key)
