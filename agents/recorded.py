"""Recorded experts: published answers of real models, given again.

``recorded/<source>/<model>`` answers what the model answered when the data was made. The question
is found by its content, the parts ``question`` and ``options`` of the prompt, so a question whose
options were shuffled is another question and was not recorded. What was not recorded is a
provider failure: missing, not wrong, and nothing that another attempt could mend.

Usage is estimated (:mod:`agents.counting`): the completion from the length of the recorded text
where the file has it, else from the answer alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from agents.counting import estimated_tokens, prompt_tokens
from agents.engine import Attempted, Capabilities, Engine
from agents.recorded_file import RecordedFile, read_recorded
from agents.recorded_row import RecordedQuestion
from agents.roster import Expert
from protocols.asks import Ask
from protocols.errors import Mistake
from protocols.messages import find_part
from protocols.replies import Reply, Usage, failed

UNREAD = "No answer could be read in the recorded text."
"""The reply where the recorded text held no answer; it has no answer line on purpose."""


def recorded_model(expert: Expert) -> str:
    """Return the model's name in the data: what stands behind ``recorded/<source>/``.

    Raises:
        Mistake: the expert's model has another form.
    """
    _, _, rest = expert.model.partition("/")
    source, _, model = rest.partition("/")
    if not source or not model:
        raise Mistake(
            f"{expert.label or expert.model}: {expert.model!r} is not recorded/<data set>/<model>"
        )
    return model


def recorded_file(expert: Expert) -> RecordedFile:
    """Return the expert's file of recorded answers.

    Raises:
        Mistake: the expert names no file, or it cannot be read.
    """
    if expert.data is None:
        raise Mistake(
            f"{expert.label or expert.model}: a recorded expert needs its file; write  data: FILE"
        )
    return read_recorded(expert.data)


class RecordedEngine(Engine):
    """Gives the recorded answers of one model."""

    capabilities = Capabilities(draws=False)
    batch_limit = 4096

    def __init__(self, expert: Expert) -> None:
        self._expert = expert
        self._model = recorded_model(expert)
        self._file: RecordedFile | None = None

    async def load(self) -> None:
        """Read the file.

        Raises:
            Mistake: it cannot be read.
        """
        self._file = await asyncio.to_thread(recorded_file, self._expert)

    async def unload(self) -> None:
        """Let go of the file."""
        self._file = None

    async def stream(self, asks: Sequence[Ask]) -> AsyncIterator[tuple[int, Attempted]]:
        """Yield the recorded answers; the file is read first if `load` was not called."""
        if self._file is None:
            await self.load()
        for index, ask in enumerate(asks):
            yield index, self._reply(ask)

    def _reply(self, ask: Ask) -> Reply:
        """Return what was recorded for `ask`."""
        file = self._file or recorded_file(self._expert)
        text = find_part(ask.messages, "question")
        options = find_part(ask.messages, "options")
        if text is None:
            return _not_recorded("the prompt has no part 'question' to look up")
        row = file.find(text.text, "" if options is None else options.text, ask.question)
        if row is None:
            return _not_recorded(f"the question {ask.question!r} was not recorded as asked")
        if row.answers is None:
            return _not_recorded(f"of {row.id!r} only the correctness was recorded, no answer")
        if self._model not in row.answers:
            return _not_recorded(f"{self._model!r} was not recorded on {row.id!r}")
        return self.said(row, prompt_tokens(ask.messages))

    def said(self, row: RecordedQuestion, tokens: int = 0) -> Reply:
        """Return the reply to a prompt of `tokens` tokens about `row`, which holds an answer."""
        answer = " ".join(((row.answers or {}).get(self._model) or "").split())
        text = f"Answer: {answer}" if answer else UNREAD
        length = (row.chars or {}).get(self._model, len(text))
        return Reply(text, usage=Usage(tokens, estimated_tokens(length)))


def _not_recorded(message: str) -> Reply:
    """Return missing data that no other attempt can bring."""
    return failed("provider", message, cause="not_recorded")
