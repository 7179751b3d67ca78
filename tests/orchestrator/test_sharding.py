"""Dealing shards out to drivers."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.sharding import SHARDS, deal, shard_of
from protocols.canonical import sha256_hex

PENDING = st.dictionaries(st.integers(0, SHARDS - 1), st.integers(0, 1_000))


def test_questions_spread_over_all_shards() -> None:
    counts = Counter(shard_of(sha256_hex(f"question {i}")) for i in range(64_000))
    assert set(counts) == set(range(SHARDS))
    assert 800 < min(counts.values()) <= max(counts.values()) < 1_200
    assert shard_of("0000002a" + "0" * 56) == 42, "it is stored, so it stays as it is"


@given(pending=PENDING, drivers=st.integers(1, 80))
def test_every_shard_with_anything_left_is_dealt_once(
    pending: dict[int, int], drivers: int
) -> None:
    shares = deal(pending, drivers)
    dealt = [shard for share in shares for shard in share]
    assert sorted(dealt) == sorted(shard for shard, count in pending.items() if count)
    assert all(shares)
    assert len(shares) <= drivers


@given(pending=PENDING, drivers=st.integers(1, 8))
def test_shares_differ_by_less_than_a_shard(pending: dict[int, int], drivers: int) -> None:
    loads = [sum(pending[shard] for shard in share) for share in deal(pending, drivers)]
    if len(loads) == drivers:
        assert max(loads) - min(loads) <= max(pending.values())


def test_a_run_of_before_lies_in_one_shard_and_has_one_driver() -> None:
    assert deal({0: 500}, 4) == [(0,)]
    assert deal({}, 4) == []
