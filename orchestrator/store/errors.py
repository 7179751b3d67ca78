"""The store's errors.

::

    Mistake
    └── StoreMistake        the store cannot be used as asked: the message says what to do
        ├── AllHeld         nothing of a run is left that others do not work on
        ├── StoreConflict   another process did meanwhile what was to be done
        └── StoreFailed     the store failed while it was in use: disk full, connection lost
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from protocols.errors import Mistake


class StoreMistake(Mistake):
    """The store cannot be opened, read or locked as asked."""


class StoreConflict(StoreMistake):
    """Another process did meanwhile what was to be done; looking again shows it."""


class AllHeld(StoreMistake):
    """Other drivers hold every shard of a run in which anything is left."""


class StoreFailed(StoreMistake):
    """The store failed while it was in use; what it had reported durable is kept."""

    exit_code = 1


def one_line(error: BaseException) -> str:
    """Return what a database driver said, in one line and without the statement."""
    origin = error.orig if isinstance(error, DBAPIError) and error.orig else error
    return " ".join(str(origin).split()) or type(origin).__name__


@contextmanager
def told(shown: str, doing: str) -> Iterator[None]:
    """Turn errors of the database driver into a StoreFailed that says what was going on.

    Args:
        shown: the store's address without a password.
        doing: ``written``, ``read``.
    """
    try:
        yield
    except DBAPIError as error:
        raise StoreFailed(
            f"the store {shown} could not be {doing}: {one_line(error)}; "
            "put that right and repeat the command: what is recorded is kept"
        ) from error
