"""Models of a hub: from its cache without a word, else fetched whole, else one line at once."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from agents.roster import Expert
from agents.transformers_engine import TransformersEngine
from protocols.errors import Mistake
from tests.agents import torch_here
from tests.agents.tiny_models import make_model
from tests.agents.transformers_making import expert_of, loaded, reply, say

torch_here.need_torch()

pytestmark = pytest.mark.torch
NAME, COMMIT = "someone/tiny", "0" * 39 + "7"


def _find(name: str) -> Path:
    from agents.weights import find_model

    return find_model(name)


class Hub(BaseHTTPRequestHandler):
    """As much of a hub as a download asks for."""

    folder: Path
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(path)
        if path.startswith(f"/api/models/{NAME}/tree/"):
            names = [{"type": "file", "path": p.name, "size": 1, "oid": "1"} for p in self._files()]
            self._send(json.dumps(names).encode())
        elif path.startswith(f"/api/models/{NAME}"):
            siblings = [{"rfilename": path.name} for path in self._files()]
            told = {"id": NAME, "sha": COMMIT, "siblings": siblings, "private": False}
            self._send(json.dumps(told).encode())
        elif path.startswith(f"/{NAME}/resolve/"):
            self._send((self.folder / path.rpartition("/")[2]).read_bytes())
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _files(self) -> list[Path]:
        return sorted(self.folder.iterdir())

    def _send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture
def hub(tmp_path: Path, no_cache: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Give the paths that a hub of one model is asked for."""
    folder = make_model(tmp_path / "there")
    (folder / "consolidated.safetensors").write_bytes(b"the same weights once more")
    handler: Any = type("OneHub", (Hub,), {"folder": folder, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(
        "huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False
    )
    yield handler.asked
    server.shutdown()
    server.server_close()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Give what was looked up in vain."""
    looked: list[object] = []

    def nowhere(host: object, *_: Any, **__: Any) -> Any:
        looked.append(host)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr("socket.getaddrinfo", nowhere)
    return looked


async def test_a_model_is_fetched_once_and_whole(hub: list[str]) -> None:
    expert = Expert(label="far", model=f"transformers/{NAME}", options={"device": "cpu"})
    async with loaded(expert) as engine:
        first = await reply(engine, say("Speak."))
    assert first.text
    assert any("tokenizer.json" in path for path in hub)
    assert not any("consolidated" in path for path in hub)
    asked = len(hub)
    async with loaded(expert) as engine:
        assert (await reply(engine, say("Speak."))).text == first.text
    assert hub[asked:] == []


def test_what_is_not_on_the_hub_is_one_line(hub: list[str]) -> None:
    with pytest.raises(Mistake, match="someone/else: no such model on the hub"):
        _find("someone/else")


@pytest.mark.usefixtures("no_cache")
def test_a_hub_out_of_reach_is_one_line_at_once(
    no_network: list[object], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Mistake, match="the hub cannot be reached") as mistake:
        _find("someone/else")
    # the hub's library itself tries six times, for half a minute
    assert 0 < len(no_network) < 4
    assert "\n" not in str(mistake.value)
    told = capfd.readouterr()
    assert (told.out, told.err) == ("", "")


@pytest.mark.usefixtures("no_cache")
def test_names_that_are_none_are_one_line(no_network: list[object]) -> None:
    with pytest.raises(Mistake, match=r"write a folder as \./folder"):
        _find("one/two/three")
    assert not no_network


async def test_a_folder_needs_no_network(tmp_path: Path, no_network: list[object]) -> None:
    folder = make_model(tmp_path / "tiny")
    async with loaded(expert_of(folder)) as engine:
        assert (await reply(engine, say("Speak."))).failure is None
    assert not no_network


async def test_several_gpus_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    expert = Expert(label="wide", model="transformers/./none", data=str(tmp_path), gpu_gb=1, gpus=2)
    with pytest.raises(Mistake, match="run on one GPU, and this one asks for 2"):
        await TransformersEngine(expert).load()
