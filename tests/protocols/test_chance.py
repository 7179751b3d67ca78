from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.chance import Rng


def test_the_stream_is_pinned():
    rng = Rng("session", 0)
    assert [rng.integer(1000) for _ in range(6)] == [212, 194, 307, 864, 683, 373]
    assert Rng("session", 0).shuffled("abcdef") == Rng("session", 0).shuffled("abcdef")


def test_the_same_in_another_process_under_another_hash_seed():
    code = (
        "from protocols.chance import Rng; r = Rng('s', 1); print([r.integer(99) for _ in 'abc'])"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, check=True,
            capture_output=True, text=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    rng = Rng("s", 1)
    assert found == {f"{[rng.integer(99) for _ in 'abc']}\n"}


def test_seeds_and_children_are_streams_of_their_own():
    firsts = [Rng(*seed).random() for seed in [("a",), ("b",), ("a", 0), ("a", "0"), ()]]
    assert len(set(firsts)) == 5
    rng = Rng("a")
    before = rng.child("x", 1).random()
    rng.random()
    assert rng.child("x", 1).random() == before
    assert rng.child("x", 2).random() != before


@given(st.lists(st.integers(), max_size=12), st.integers())
def test_shuffling_keeps_everything(items, seed):
    shuffled = Rng(seed).shuffled(items)
    assert Counter(shuffled) == Counter(items)
    k = len(items) // 2
    assert len(Rng(seed).sample(items, k)) == k


def test_every_order_is_as_likely():
    rng = Rng("orders")
    counts = Counter("".join(rng.shuffled("abc")) for _ in range(6000))
    assert len(counts) == 6
    assert max(abs(count - 1000) for count in counts.values()) < 150


def test_weights_are_chances():
    rng = Rng("weights")
    counts = Counter(rng.weighted((0.0, 1.0, 3.0, 0.0)) for _ in range(4000))
    assert set(counts) == {1, 2}
    assert counts[2] / 4000 == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize("weights", [(), (0.0,), (0.0, 0.0), (1.0, -1.0), (float("nan"),)])
def test_weights_that_are_no_chances_are_refused(weights):
    with pytest.raises(ValueError, match="weight"):
        Rng(0).weighted(weights)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="n >= 1"):
        Rng(0).integer(0)
    with pytest.raises(ValueError, match="without replacement"):
        Rng(0).sample([1, 2], 3)
    with pytest.raises(ValueError, match="n >= 1"):
        Rng(0).choice([])
    assert Rng(0).choice(["only"]) == "only"
