"""Offline experts: small honest baselines that read the passage and need no model.

``offline/quote-debater`` finds sentences that share words with the answer it was given and quotes
them; where it may choose a side it takes the one whose sentences score higher.
``offline/lexical-judge`` counts shared words and turns the counts into a distribution.
Neither understands a sentence: on hard questions both are near chance, or below it where wrong
answers were written in the words of the passage, and whoever shows their results should say so.
They are there to run every part of a debate without a key or a GPU.

``offline/reviser`` (:mod:`agents.offline_reviser`) needs no model either, but recorded answers.

The first two find what they need by the names of a prompt's parts: ``passage``, ``question``,
``options``, ``assigned`` (the answer to argue for), ``speech`` behind ``yours`` (one's own earlier
speech) or behind ``debater_a``, ``consultant_b``... (whose speech it is), and what they are to do
other than argue or decide: ``choice_task``, ``negotiate_task``, ``question_task``.

All are deterministic: asked the same again, they say the same again. Usage is estimated
(:mod:`agents.counting`).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from agents.engine import Capabilities
from agents.offline_engine import PromptEngine, spoken
from agents.offline_reviser import REVISER, Reviser
from agents.roster import Expert
from protocols.asks import Ask
from protocols.errors import Mistake
from protocols.messages import Message, find_part
from protocols.quotes import normalised, verified_texts
from protocols.quoting import unquoted
from protocols.replies import Reply, failed

ANSWER_WEIGHT = 3
"""How much more a word of the answer counts than a word of the question (ours)."""
MOST_QUOTES = 3
"""Quotations in a speech (ours)."""
MOST_QUOTED_WORDS = 80
"""Words of all quotations in a speech (ours); a longer sentence is quoted up to there."""
PRIOR = 1.0
"""What every option has before anything is weighed: keeps a thin case near even (ours)."""
INQUIRY = "Which words of the passage speak for your answer?"
"""All that ``offline/lexical-judge`` ever asks."""

_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'\u2019\u201d)\]]*\s+|\n{2,}")
_MARKS = " \t\r\n\"'\u2018\u2019\u201c\u201d"
_OPTION = re.compile(r"^([A-Z])\. (.*)$", re.MULTILINE)


class OfflineEngine(PromptEngine):
    """An offline expert without settings."""

    def __init__(self, expert: Expert) -> None:
        super().__init__(expert)
        if expert.options:
            raise Mistake(
                f"{expert.label or expert.model}: {expert.model} has no settings; "
                f"delete {', '.join(sorted(expert.options))} from its options"
            )


class QuoteDebater(OfflineEngine):
    """Quotes the sentences of the passage that best match its assigned answer.

    A weak, honest baseline: it ranks sentences by BM25 on the words of question and answer, quotes
    the best that it has not quoted before, word by word, and never claims more. Without a passage,
    or when no sentence is left, it says that it has nothing to quote, and votes to end a session.
    Where it may choose its side it takes the one whose sentences score higher; where they are
    equal, or it has no passage, the first one, and says so.
    """

    capabilities = Capabilities(draws=True)

    def reply(self, ask: Ask) -> Reply:
        """Return a speech for the answer in the prompt's part ``assigned``, a choice or a vote."""
        question = _text_of(ask, "question")
        passage = find_part(ask.messages, "passage")
        if _is_asked(ask, "choice_task"):
            options = _options_of(ask)
            if not options:
                return failed("refused", "offline/quote-debater only chooses among options")
            return spoken(ask, _choice("" if passage is None else passage.text, question, options))
        assigned = find_part(ask.messages, "assigned")
        if assigned is None:
            return failed("refused", "offline/quote-debater only argues for an assigned answer")
        quotes: list[str] = []
        if passage is not None:
            quotes = supporting_sentences(
                passage.text,
                question=question,
                answer=assigned.text,
                used={normalised(quote) for quote in _own_quotes(ask.messages)},
            )
        if _is_asked(ask, "negotiate_task"):
            vote = "I have more to quote.\nEnd: no" if quotes else "I have said it all.\nEnd: yes"
            return spoken(ask, vote)
        return spoken(ask, _argument(assigned.text, quotes, reads=passage is not None))


class LexicalJudge(OfflineEngine):
    """Counts shared words and gives a distribution over the options.

    A weak, honest baseline. It weighs, in this order of preference: the verified quotations of
    each side by the words that they share with the question and with that side's answer; the
    sentences of a passage that it may read; the words that an option shares with the question.
    Unverified quotations and all other words of a speech count nothing. Where nothing can be
    weighed the distribution is even, the reply says so and names the first option. It has one
    question for those who argue, whoever they are.
    """

    capabilities = Capabilities(draws=True, distributions=True)

    def reply(self, ask: Ask) -> Reply:
        """Return a verdict over the options of the prompt's part ``options``, or a question."""
        if _is_asked(ask, "question_task"):
            return spoken(ask, INQUIRY)
        options = _options_of(ask)
        if not options or (ask.options and set(ask.options) != set(options)):
            return failed("refused", "offline/lexical-judge only chooses among labelled options")
        weights = _weigh(ask.messages, _text_of(ask, "question"), options)
        total = math.fsum(weights.values()) + PRIOR * len(weights)
        shares = {label: (weight + PRIOR) / total for label, weight in weights.items()}
        best = max(shares, key=lambda label: shares[label])
        even = max(shares.values()) == min(shares.values())
        why = "Nothing speaks for one of them." if even else f"More words speak for {best}."
        distribution = tuple(shares[label] for label in ask.options) if ask.options else None
        return spoken(ask, f"{why}\n\nAnswer: {best}", distribution=distribution)


OFFLINE: dict[str, type[PromptEngine]] = {
    "offline/lexical-judge": LexicalJudge,
    "offline/quote-debater": QuoteDebater,
    REVISER: Reviser,
}
"""The engines by the model's name."""


def supporting_sentences(
    passage: str, *, question: str, answer: str, used: set[str] | frozenset[str] = frozenset()
) -> list[str]:
    """Return the sentences of a passage that best support an answer, best first, word by word.

    Args:
        passage: what to quote from.
        question: the question's words count once.
        answer: the answer's words count :data:`ANSWER_WEIGHT` times.
        used: sentences that are not to be quoted again, normalised.
    """
    index = _indexed(passage)
    scores = index.scores(question, answer)
    found: list[str] = []
    left = MOST_QUOTED_WORDS
    for place in sorted(range(len(scores)), key=lambda place: (-scores[place], place)):
        if scores[place] <= 0.0 or len(found) == MOST_QUOTES:
            break
        words = index.sentences[place].split()[:MOST_QUOTED_WORDS]
        key = normalised(" ".join(words))
        if len(words) <= left and key not in used:
            used = used | {key}
            found.append(" ".join(words))
            left -= len(words)
    return found


class _Index:
    """The sentences of a passage, ranked by BM25 (Lucene's form, k1 = 1.5, b = 0.75)."""

    def __init__(self, passage: str) -> None:
        import bm25s

        pieces = [piece.strip(_MARKS) for piece in _SENTENCE_END.split(passage)]
        worded = [(piece, normalised(piece).split()) for piece in pieces]
        self.sentences = [piece for piece, words in worded if words]
        self._ranking: Any = None
        if self.sentences:
            self._ranking = bm25s.BM25()
            self._ranking.index([words for _, words in worded if words], show_progress=False)

    def scores(self, question: str, answer: str) -> list[float]:
        """Return the score of every sentence for the words of a question and an answer."""
        words = _content_words(question) + ANSWER_WEIGHT * _content_words(answer)
        if self._ranking is None or not words:
            return [0.0] * len(self.sentences)
        scores: list[float] = self._ranking.get_scores(words).tolist()
        return scores


@lru_cache(maxsize=256)
def _indexed(passage: str) -> _Index:
    """Return the index of a passage; kept, as a passage is read in many asks."""
    return _Index(passage)


def _argument(answer: str, quotes: Sequence[str], *, reads: bool) -> str:
    if not reads:
        return f"I argue for this answer: {answer}\nI have no passage and so nothing to quote."
    if not quotes:
        return f"I argue for this answer: {answer}\nI find nothing more in the passage to quote."
    lines = "\n".join(f"<quote>{quote}</quote>" for quote in quotes)
    return f"I argue for this answer: {answer}\nThese words of the passage speak for it:\n{lines}"


def _choice(passage: str, question: str, options: Mapping[str, str]) -> str:
    """Return the choice of a side: the one whose sentences score higher, or the first of equals."""
    weights = _weigh_passage(passage, question, options)
    best = max(weights, key=lambda label: weights[label])
    even = max(weights.values()) == min(weights.values())
    why = f"The passage speaks more for {best}."
    if even:
        why = f"Nothing that I read speaks more for one of them; I take {best}, the first."
    return f"{why}\n\nAnswer: {best}"


def _is_asked(ask: Ask, task: str) -> bool:
    """Whether the last part of a prompt is this task."""
    parts = ask.messages[-1].parts if ask.messages else ()
    return bool(parts) and parts[-1].name == task


def _text_of(ask: Ask, name: str) -> str:
    part = find_part(ask.messages, name)
    return "" if part is None else part.text


def _options_of(ask: Ask) -> dict[str, str]:
    """Return the labelled options in a prompt."""
    return dict(_OPTION.findall(_text_of(ask, "options")))


def _own_quotes(messages: tuple[Message, ...]) -> Iterator[str]:
    for owner, speech in _speeches(messages):
        if owner == "yours":
            yield from verified_texts(speech)


def _speeches(messages: tuple[Message, ...]) -> Iterator[tuple[str, str]]:
    """Yield every speech, behind the name of the part that says whose it is."""
    before = ""
    for message in messages:
        for part in message.parts:
            if part.name == "speech":
                yield before, unquoted(part.text)
            before = part.name


def _weigh(
    messages: tuple[Message, ...], question: str, options: Mapping[str, str]
) -> dict[str, float]:
    """Return how much speaks for each option; see :class:`LexicalJudge`."""
    quotes: dict[str, list[str]] = {label: [] for label in options}
    for owner, speech in _speeches(messages):
        label = owner.rpartition("_")[2].upper()
        if label in quotes:
            quotes[label] += map(normalised, verified_texts(speech))
    if any(quotes.values()):
        return _weigh_quotes(quotes, question, options)
    passage = find_part(messages, "passage")
    if passage is not None and passage.text:
        return _weigh_passage(passage.text, question, options)
    asked = set(_content_words(question))
    return {label: _share(_content_words(option), asked) for label, option in options.items()}


def _weigh_passage(passage: str, question: str, options: Mapping[str, str]) -> dict[str, float]:
    """Weigh each option by the sentences of a passage that support it."""
    index = _indexed(passage)
    return {label: _faded(index.scores(question, option)) for label, option in options.items()}


def _weigh_quotes(
    quotes: Mapping[str, Sequence[str]], question: str, options: Mapping[str, str]
) -> dict[str, float]:
    """Weigh each side's quotations by rare words that they share with question and answer."""
    texts = sorted({text for said in quotes.values() for text in said})
    frequency = Counter(word for text in texts for word in set(text.split()))
    asked = set(_content_words(question))
    weights = {}
    for label, option in options.items():
        own = set(_content_words(option))
        scores = []
        for text in dict.fromkeys(quotes[label]):
            words = sorted(set(text.split()) & (asked | own))
            scores.append(
                math.fsum(
                    (ANSWER_WEIGHT if word in own else 1)
                    * math.log((len(texts) + 1) / frequency[word])
                    for word in words
                )
            )
        weights[label] = _faded(scores)
    return weights


def _faded(scores: Sequence[float]) -> float:
    """Add the best scores, each next one counting less, so that many weak ones do not win."""
    best = sorted(scores, reverse=True)[: 2 * MOST_QUOTES]
    return math.fsum(score / place for place, score in enumerate(best, start=1))


def _share(words: Sequence[str], asked: set[str]) -> float:
    """Return the share of an option's words that the question holds."""
    return sum(word in asked for word in words) / len(words) if words else 0.0


def _content_words(text: str) -> list[str]:
    """Return the words of a text without English stop words, or all where nothing else is left."""
    from bm25s.stopwords import STOPWORDS_EN_PLUS

    words = normalised(text).split()
    return [word for word in words if word not in STOPWORDS_EN_PLUS] or words
