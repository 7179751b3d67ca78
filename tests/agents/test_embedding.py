"""Embedding experts: scripted ones, and a hosted one against a real server on loopback."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.embedding import embedded_similarity, make_embedder, nearest_known, vectors_asset
from agents.roster import Expert
from protocols.errors import Mistake
from protocols.recruitment import trigram_similarity
from tests.agents.hosted import KEY, KEY_ENV
from tests.servers.openai_server import Answer, OpenAIServer

VECTORS = {"algebra": [1.0, 0.0], "law": [0.0, 1.0], "groups": [0.9, 0.1], "tort": [0.2, 3.0]}
KNOWN = ("algebra", "law")


def scripted(vectors: Any = VECTORS) -> Expert:
    return Expert(label="e", model="scripted/vectors", options={"vectors": vectors})


def hosted(url: str) -> Expert:
    return Expert(label="e", model="openai/embed", base_url=url, key_env=KEY_ENV)


def rows(*vectors: list[float]) -> Answer:
    data = [
        {"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)
    ]
    body = {"object": "list", "model": "m", "data": data[::-1], "usage": {"prompt_tokens": 1}}
    return Answer(body=json.dumps(body).encode())


def test_unseen_skills_go_to_the_nearest_vector():
    names = {*KNOWN, "groups", "tort", "unheard"}
    similarity = embedded_similarity(names, make_embedder(scripted()))
    assert nearest_known(names, KNOWN, similarity) == {"groups": "algebra", "tort": "law"}


def test_nothing_unseen_asks_for_nothing():
    assert nearest_known(KNOWN, KNOWN, trigram_similarity) == {}
    assert vectors_asset((), make_embedder(scripted())).content == {}


def test_the_asset_is_the_same_whatever_the_order():
    one = vectors_asset(["law", "algebra"], make_embedder(scripted()))
    other = vectors_asset(["algebra", "law", "law"], make_embedder(scripted()))
    assert one.digest == other.digest


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ({"a": [1.0], "b": [1.0, 2.0]}, "one vector for each"),
        ({"a": [float("nan")], "b": [1.0]}, "no vector"),
        ({"a": [], "b": []}, "no vector"),
    ],
)
def test_what_is_no_vector_is_refused(vectors, message):
    with pytest.raises(Mistake, match=message):
        vectors_asset(["a", "b"], make_embedder(scripted(vectors)))


@pytest.mark.parametrize("model", ["recorded/x/y", "offline/lexical-judge", "vllm/m"])
def test_experts_without_vectors(model):
    with pytest.raises(Mistake, match="computes no vectors"):
        make_embedder(Expert(label="e", model=model))
    with pytest.raises(Mistake, match="has no vectors"):
        make_embedder(Expert(label="e", model="scripted/x"))


def test_a_hosted_model_is_asked_once_and_its_rows_are_sorted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(KEY_ENV, KEY)
    with OpenAIServer(rows([1.0, 0.0], [0.0, 1.0])) as server:
        vectors = make_embedder(hosted(server.url)).embed(["algebra", "law"])
        assert vectors == [[1.0, 0.0], [0.0, 1.0]]
        (body,) = server.bodies
        assert (body["model"], body["input"]) == ("embed", ["algebra", "law"])
        assert server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_many_texts_are_several_calls(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(KEY_ENV, KEY)
    with OpenAIServer(rule=lambda body, number: rows(*[[1.0]] * len(body["input"]))) as server:
        assert len(make_embedder(hosted(server.url)).embed([f"s{i}" for i in range(300)])) == 300
        assert [len(body["input"]) for body in server.bodies] == [256, 44]


@pytest.mark.parametrize("answer", [Answer(status=401, error=f"bad key {KEY}"), Answer(body=b"<")])
def test_a_failure_is_one_line_without_the_key(answer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(KEY_ENV, KEY)
    with OpenAIServer(answer) as server, pytest.raises(Mistake) as caught:
        make_embedder(hosted(server.url)).embed(["law"])
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_key_that_is_not_set_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(KEY_ENV, raising=False)
    with pytest.raises(Mistake, match=KEY_ENV):
        make_embedder(hosted("http://127.0.0.1:9/v1")).embed(["law"])
