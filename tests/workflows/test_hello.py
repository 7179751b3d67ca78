"""The first example, and what workflows gives to Python."""

from __future__ import annotations

import workflows
from tests.workflows.terminal import ROOT, moot
from workflows.hello import main


def test_hello_prints_both_protocols(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["direct_answer", "debate", "random"]
    assert lines[1].endswith("60 calls")
    assert moot("show", "hello", "--store", "hello.db").code == 0


def test_hello_is_short() -> None:
    text = (ROOT / "workflows" / "hello.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 25


def test_all_is_sorted_and_exact() -> None:
    assert list(workflows.__all__) == sorted(workflows.__all__)
    public = {name for names in workflows._HOMES.values() for name in names}
    assert set(workflows.__all__) == public
    for name in workflows.__all__:
        assert getattr(workflows, name) is not None
    assert not [
        name for name in ("run", "compare", "replay", "fork", "rejudge") if name not in public
    ]
