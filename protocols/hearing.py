"""Hearing: who hears whom, as directed graphs over seats.

An edge runs from the one who speaks to the one who hears. A graph is data that a protocol reads
through :func:`hears`, which sorts; nothing iterates over a graph itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from protocols.chance import Rng
from protocols.errors import Mistake

if TYPE_CHECKING:
    from networkx import DiGraph


def _graph(seats: Sequence[str], pairs: Iterable[tuple[str, str]]) -> DiGraph[str]:
    """Return the graph over `seats` in which both of every pair hear each other."""
    from networkx import DiGraph

    if len(set(seats)) != len(seats):
        raise Mistake(f"seats must differ, but these do not: {', '.join(seats)}; rename one")
    graph = DiGraph()
    graph.add_nodes_from(seats)
    for one, other in pairs:
        graph.add_edge(one, other)
        graph.add_edge(other, one)
    return graph


def complete(seats: Sequence[str]) -> DiGraph[str]:
    """Everybody hears everybody else."""
    return _graph(seats, ((a, b) for i, a in enumerate(seats) for b in seats[i + 1 :]))


def ring(seats: Sequence[str]) -> DiGraph[str]:
    """Everybody hears the one before and the one after, in a circle."""
    n = len(seats)
    return _graph(seats, ((seats[i], seats[(i + 1) % n]) for i in range(n) if n > 1))


def star(seats: Sequence[str]) -> DiGraph[str]:
    """The first seat hears all others, and all others hear only it."""
    return _graph(seats, ((seats[0], other) for other in seats[1:]))


def sparse(seats: Sequence[str], degree: int, rng: Rng) -> DiGraph[str]:
    """Everybody hears `degree` others, drawn at random: a regular, connected graph.

    The seats are put in random order on a circle; each hears its nearest ``degree // 2`` on both
    sides and, for an odd degree, the one opposite (a circulant graph on a random order).

    Raises:
        Mistake: no such graph exists: `degree` must lie in 2 to n - 1 (1 where n is 2), and
            n times `degree` must be even.
    """
    n = len(seats)
    lowest = 1 if n == 2 else 2
    if not lowest <= degree < n or n * degree % 2:
        raise Mistake(
            f"{n} seats cannot each hear {degree} others; choose a degree from {lowest} to "
            f"{n - 1} such that seats times degree is even"
        )
    circle = rng.shuffled(seats)
    steps = list(range(1, degree // 2 + 1))
    if degree % 2:
        steps.append(n // 2)
    return _graph(seats, ((circle[i], circle[(i + k) % n]) for k in steps for i in range(n)))


def hears(graph: DiGraph[str], seat: str) -> tuple[str, ...]:
    """Return the seats that `seat` hears, sorted."""
    return tuple(sorted(graph.predecessors(seat)))
