"""Randomness that is the same on every machine and in every Python.

A session receives one :class:`Rng` and no other source of randomness. It is built on
``random.Random.random()`` alone, the one method whose sequence Python promises to keep;
``shuffle`` and ``sample`` of the standard library may change between versions.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from protocols.canonical import canonical_json, sha256

T = TypeVar("T")


class Rng:
    """A seeded stream of draws. `seed` is any JSON value; equal seeds give equal streams."""

    __slots__ = ("_seed", "_stream")

    def __init__(self, *seed: str | int) -> None:
        self._seed = seed
        self._stream: random.Random | None = None

    def random(self) -> float:
        """Return the next number in [0, 1)."""
        if self._stream is None:  # seeding costs 10 µs and most sessions never draw
            digest = sha256(canonical_json(list(self._seed)))
            self._stream = random.Random(int.from_bytes(digest, "big"))
        return self._stream.random()

    def integer(self, n: int) -> int:
        """Return one of 0, ..., n - 1, each as likely (to within 2**-53)."""
        if n < 1:
            raise ValueError(f"integer(n) needs n >= 1, got {n}")
        return min(int(self.random() * n), n - 1)

    def choice(self, items: Sequence[T]) -> T:
        """Return one of `items`, each as likely."""
        return items[self.integer(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return `items` in random order (Fisher-Yates)."""
        result = list(items)
        for i in range(len(result) - 1, 0, -1):
            j = self.integer(i + 1)
            result[i], result[j] = result[j], result[i]
        return result

    def sample(self, items: Sequence[T], k: int) -> list[T]:
        """Return k different places of `items`, in random order."""
        if k > len(items):
            raise ValueError(f"cannot draw {k} of {len(items)} without replacement")
        return self.shuffled(items)[:k]

    def weighted(self, weights: Sequence[float]) -> int:
        """Return index i with probability weights[i] / sum(weights).

        Raises:
            ValueError: a weight is negative, or all are zero.
        """
        total = 0.0
        for weight in weights:
            if not weight >= 0.0:
                raise ValueError(f"weights must not be negative, got {weight}")
            total += weight
        if total <= 0.0:
            raise ValueError("at least one weight must be positive")
        mark = self.random() * total
        last = 0
        for i, weight in enumerate(weights):
            if weight > 0.0:
                last = i
                mark -= weight
                if mark < 0.0:
                    return i
        return last

    def child(self, *name: str | int) -> Rng:
        """Return an independent stream, the same one however much was drawn from this one."""
        return Rng(*self._seed, "/", *name)
