"""Reply schemas: strict ones from pydantic classes, and reading replies back."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from protocols.errors import Mistake
from protocols.parsing import Unparsed
from protocols.replies import Reply, failed
from protocols.schemas import read_reply, strict_schema


class Reason(BaseModel):
    kind: Literal["reason"]
    text: str = "none"


class Doubt(BaseModel):
    kind: Literal["doubt"]
    share: float | None = None


class Verdict(BaseModel):
    """A verdict."""

    answer: Literal["A", "B"] = Field(title="The answer", examples=["A"])
    grounds: list[Annotated[Reason | Doubt, Field(discriminator="kind")]] = []


def objects(node: Any) -> list[dict[str, Any]]:
    found = [node] if isinstance(node, dict) and "properties" in node else []
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return found + [one for part in inner for one in objects(part)]


def test_every_object_requires_all_its_keys_and_no_others() -> None:
    schema = json.loads(strict_schema(Verdict))
    assert len(objects(schema)) == 3
    for one in objects(schema):
        assert one["required"] == sorted(one["properties"])
        assert one["additionalProperties"] is False
    text = strict_schema(Verdict)
    for word in ('"default"', '"title"', '"examples"', '"oneOf"', '"discriminator"'):
        assert word not in text
    assert '"anyOf"' in text


def test_a_schema_is_canonical() -> None:
    text = strict_schema(Verdict)
    assert text == strict_schema(Verdict)
    assert ": " not in text.replace("A verdict.", "")


def test_a_field_may_be_called_title() -> None:
    class Book(BaseModel):
        title: str
        default: int

    schema = json.loads(strict_schema(Book))
    assert schema["required"] == ["default", "title"]


def test_what_a_strict_schema_cannot_say() -> None:
    class Free(BaseModel):
        shares: dict[str, float]

    class Pair(BaseModel):
        both: tuple[int, str]

    with pytest.raises(Mistake, match=r"Free\.shares: a mapping of any keys"):
        strict_schema(Free)
    with pytest.raises(Mistake, match=r"Pair\.both: a tuple"):
        strict_schema(Pair)


def test_replies_are_read_back_or_not_at_all() -> None:
    read = read_reply(Reply('{"answer":"A","grounds":[]}'), Verdict)
    assert isinstance(read, Verdict)
    assert read.answer == "A"
    for reply, why in (
        (Reply('{"answer":"C","grounds":[]}'), "answer: "),
        (Reply("A"), "Invalid JSON"),
        (Reply(""), "Invalid JSON"),
        (failed("timeout", "late"), "the ask failed: timeout"),
    ):
        unread = read_reply(reply, Verdict)
        assert isinstance(unread, Unparsed)
        assert why in unread.why
