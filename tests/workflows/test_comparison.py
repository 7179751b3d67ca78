"""Comparisons as objects and from the command line, the odd ones included."""

from __future__ import annotations

import asyncio
from html.parser import HTMLParser
from pathlib import Path

import pytest

from orchestrator.store import Store
from protocols.errors import Mistake
from protocols.outcome import Outcome
from tests.workflows.making import recorded_row, write_lines
from tests.workflows.stored import some_key, store_outcomes
from tests.workflows.terminal import moot
from workflows import compare
from workflows.comparing.comparison import Comparison

GOOD = {"kind": "direct_answer", "name": "good", "cast": {"judge": "good"}}
BAD = {"kind": "direct_answer", "name": "bad", "cast": {"judge": "bad"}}


def make(path: Path, count: int, *, first: int = 0, name: str = "r", **settings):
    """Run an expert that is always right and one that never is."""
    rows = [recorded_row(first + number) for number in range(count)]
    file = write_lines(path, rows)
    return compare([GOOD, BAD], file, name=name, store=str(path.parent / "c.db"), **settings)


@pytest.fixture
def result(tmp_path):
    return make(tmp_path / "a.jsonl", 12)


def test_a_result_tells_everything_and_keeps_its_rows(result, tmp_path) -> None:
    assert [row.name for row in result.rows if row.kind == "protocol"] == ["good", "bad"]
    assert result.table().splitlines()[0].startswith("protocol")
    pair = next(one for one in result.pairs() if (one.first, one.second) == ("good", "bad"))
    assert pair.difference.mean == 1.0
    assert pair.interval_holm.low > 0
    assert pair.p_holm < 0.05
    placed = {one.row.name: one for one in result.frontier("calls")}
    assert placed["good"].on_frontier
    assert placed["bad"].dominated_by == ("good",)
    assert "good" in str(result)
    assert "less second" in str(result)
    assert repr(result).startswith("RunResult(")
    assert "address" not in repr(result)
    assert "address" not in result.as_json()
    assert result.comparison.as_json()["unit"] == "tokens"


@pytest.mark.parametrize("backend", ["polars", "pandas"])
def test_the_rows_become_a_frame(result, backend) -> None:
    frame = result.to_frame(backend)
    assert list(frame["name"])[:2] == ["good", "bad"]
    assert list(frame["accuracy"])[:2] == [1.0, 0.0]
    assert {"n", "missing", "abstained", "unparsed", "calls_a_question"} <= set(frame.columns)


def test_plots_and_pages_are_written(result, tmp_path) -> None:
    svg = result.plot(tmp_path / "deep" / "p.svg").read_text(encoding="utf-8")
    assert svg.startswith("<svg")
    assert "good less bad" in svg
    assert "tokens a question" in svg
    assert result.plot(tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert result.report(tmp_path / "p.md").read_text(encoding="utf-8").startswith("#")
    with pytest.raises(Mistake, match=r"written as \.svg or \.png"):
        result.plot(tmp_path / "p.pdf")
    (tmp_path / "file").write_text("")
    with pytest.raises(Mistake, match="cannot be written"):
        result.plot(tmp_path / "file" / "p.png")


def test_what_is_misspelt_is_said(result) -> None:
    with pytest.raises(Mistake, match="unit 'cents': there are money, tokens, calls"):
        result.frontier("cents")
    with pytest.raises(Mistake, match="there are 'polars' and 'pandas'"):
        result.to_frame("spark")
    with pytest.raises(Mistake, match="no run 'nobody'"):
        Comparison.read(result.address, ["nobody"])
    with pytest.raises(Mistake, match="name a run"):
        Comparison.read(result.address, [])


def test_a_run_beside_itself_is_one_run(result) -> None:
    once = Comparison.read(result.address, ["r"])
    twice = Comparison.read(result.address, ["r", "r"])
    assert str(twice) == str(once)
    assert twice.pairs() == once.pairs()


def test_runs_on_other_questions_are_not_paired(result, tmp_path) -> None:
    other = make(tmp_path / "b.jsonl", 5, first=100, name="other")
    found = Comparison.read(result.address, [result.name, other.name])
    assert [name for name, _, _ in found.named()][:2] == ["r: good", "r: bad"]
    said = "the runs share no question, so each is compared within itself alone"
    pairs = [(one.first, one.second) for one in found.pairs()]
    assert pairs == [("r: good", "r: bad"), ("other: good", "other: bad")]
    assert str(found).endswith(said)
    done = moot("compare", "r", "other", "--store", result.address)
    assert done.code == 0
    assert done.message == said
    assert "r: good" in done.out


def test_runs_that_share_questions_are_paired_on_these(result, tmp_path) -> None:
    make(tmp_path / "b.jsonl", 20, first=6, name="other")
    found = Comparison.read(result.address, ["r", "other"])
    pairs = {(one.first, one.second): one for one in found.pairs()}
    across = pairs["r: good", "other: bad"].difference
    assert (across.mean, across.questions) == (1.0, 6)
    assert across.missing == 20  # 6 of the first run alone, 14 of the second
    assert pairs["r: good", "other: good"].difference.mean == 0.0


async def test_an_empty_run_is_an_honest_table(tmp_path) -> None:
    address = str(tmp_path / "e.db")
    with Store.open(address) as store:
        await store_outcomes(
            store, [None, None, None], some_key([Outcome(status="abstained", rule="x")] * 3)
        )
    found = Comparison.read(address, ["r"])
    assert found.pairs() == []
    assert str(found).endswith("no question is scored, so nothing can be compared")
    assert [record["missing"] for record in found.records()] == [2, 1]
    assert found.frontier() == []
    assert found.equal_spend() == []
    with pytest.raises(Mistake, match="nothing to draw, no question is scored"):
        found.plot(tmp_path / "p.svg")
    done = moot("compare", "r", "--store", address)
    assert done.code == 0
    assert done.message == "no question is scored, so nothing can be compared"
    assert moot("compare", "r", "--store", address, "--json").json["pairs"] == []


def test_one_question_decides_nothing(tmp_path) -> None:
    found = make(tmp_path / "a.jsonl", 1).comparison
    pair = next(one for one in found.pairs() if (one.first, one.second) == ("good", "bad"))
    assert pair.difference.mean == 1.0
    assert pair.p_holm == 1.0
    assert pair.difference.method == "none"
    assert pair.interval_holm.low <= 0
    assert found.plot(tmp_path / "p.svg").exists()


async def test_failed_abstained_and_unparsed_have_columns_of_their_own(tmp_path) -> None:
    ends = [
        Outcome(status="failed", boundary="provider", rule="x"),
        Outcome(status="abstained", rule="x"),
        Outcome(status="answered", answer="B", rule="x"),
        Outcome(status="unparsed", rule="x"),
        Outcome(status="answered", answer="A", rule="x"),
        Outcome(status="unparsed", rule="x"),
    ]
    address = str(tmp_path / "e.db")
    key = {"gold": {f"q{n}": "A" for n in range(6)}, "kinds": {f"q{n}": "choice" for n in range(6)}}
    with Store.open(address) as store:
        from workflows.questions.answer_key import AnswerKey

        await store_outcomes(store, ends, AnswerKey.model_validate(key))
    records = Comparison.read(address, ["r"]).records()[:2]
    assert [(r["n"], r["correct"]) for r in records] == [(2, 1.0), (3, 0.0)]
    assert [r["missing"] for r in records] == [1, 0]
    assert [(r["abstained"], r["unparsed"]) for r in records] == [(0, 0.0), (1, 2.0)]


class Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_notebook_shows_names_as_they_are(tmp_path) -> None:
    file = write_lines(tmp_path / "a.jsonl", [recorded_row(n) for n in range(3)])
    hostile = {**GOOD, "name": "<script>x</script>"}
    found = compare([hostile, BAD], file, name="r", store=str(tmp_path / "c.db"))
    page = Texts()
    page.feed(found._repr_html_())
    assert "script" not in page.tags
    assert "<script>x</script>" in page.texts


def test_the_command_shows_holm_intervals_the_frontier_and_equal_spend(result) -> None:
    done = moot("compare", "r", "--store", result.address, "--unit", "calls")
    assert done.code == 0, done.err
    assert "Holm interval" in done.out
    assert "Accuracy against stand-alone price, in calls." in done.out
    assert "beaten by good" in done.out
    found = moot("compare", "r", "--store", result.address, "--json").json
    assert {"pairs", "unit", "spend", "frontier", "equal_spend"} <= set(found)
    assert all(
        pair["holm_low"] <= pair["difference"] <= pair["holm_high"] for pair in found["pairs"]
    )
    wrong = moot("compare", "r", "--store", result.address, "--unit", "cents")
    assert wrong.code == 2
    assert "there are money, tokens, calls" in wrong.message
    wrong = moot("compare", "r", "--store", result.address, "--until-decided")
    assert wrong.code == 2
    assert "--until-decided belong to a workflow" in wrong.message


@pytest.mark.parametrize("odd", ["itself", "other questions", "empty", "one question"])
def test_odd_comparisons_give_a_line_or_an_honest_table(result, tmp_path, odd: str) -> None:
    """With every way of writing it out: on the screen, as JSON, a page, Markdown, plots."""
    names = {"itself": ["r", "r"], "other questions": ["r", "other"]}.get(odd, [odd])
    if odd == "other questions":
        make(tmp_path / "b.jsonl", 5, first=100, name="other")
    elif odd == "one question":
        make(tmp_path / "b.jsonl", 1, name=odd)
    elif odd == "empty":
        with Store.open(result.address) as store:
            asyncio.run(store_outcomes(store, [], some_key([]), name=odd))
    written = ["--html", "c.html", "--md", "c.md", "--plots", "plots"]
    paths = [str(tmp_path / one) if place % 2 else one for place, one in enumerate(written)]
    done = moot("compare", *names, "--store", result.address)
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    said = " ".join((done.out + done.err).split())
    found = moot("compare", *names, "--store", result.address, "--json").json
    if odd == "itself":
        assert [run["name"] for run in found["runs"]] == ["r"], "a run named twice counts once"
        assert "+100.0" in said
    elif odd == "other questions":
        assert "the runs share no question" in said
        assert all(
            pair["first"].split(":")[0] == pair["second"].split(":")[0] for pair in found["pairs"]
        )
    elif odd == "empty":
        assert "no question is scored" in said
        assert found["pairs"] == []
    else:
        (pair,) = found["pairs"]
        assert (pair["questions"], pair["interval"]) == (1, "none")
        assert pair["p_holm"] == 1.0
        assert pair["could_show"] is None
        assert "1 questions" not in said
        assert "n = 1 question" in said
    pages = moot("compare", *names, "--store", result.address, *paths)
    assert pages.code == 0, pages.err
    assert (tmp_path / "c.html").stat().st_size > 1_000
    assert (tmp_path / "c.md").read_text(encoding="utf-8").startswith("#")


async def test_every_odd_end_has_a_column_and_the_denominator_is_printed(tmp_path) -> None:
    ends = [
        Outcome(status="answered", answer="A", rule="x"),
        Outcome(status="failed", boundary="provider", rule="x"),
        Outcome(status="failed", boundary="refused", rule="x"),
        Outcome(status="abstained", rule="x"),
        Outcome(status="unparsed", rule="x"),
        Outcome(status="failed", boundary="timeout", rule="x"),
    ]
    key = {"gold": {f"q{n}": "A" for n in range(6)}, "kinds": {f"q{n}": "choice" for n in range(6)}}
    address = str(tmp_path / "e.db")
    with Store.open(address) as store:
        from workflows.questions.answer_key import AnswerKey

        await store_outcomes(store, ends, AnswerKey.model_validate(key))
    records = [r for r in Comparison.read(address, ["r"]).records() if r["kind"] == "protocol"]
    names = ("n", "correct", "missing", "refused", "abstained", "unparsed")
    told = {name: sum(record[name] for record in records) for name in names}
    expected = {"n": 4, "correct": 1, "missing": 2, "refused": 1, "abstained": 1, "unparsed": 1}
    assert told == expected
    done = moot("compare", "r", "--store", address)
    header = done.out.splitlines()[0].split()
    assert [name for name in header if name in told] == [
        name for name in names if name != "correct"
    ]
    assert "accuracy = correct / n; n = questions asked less the missing ones" in " ".join(
        done.out.split()
    )
