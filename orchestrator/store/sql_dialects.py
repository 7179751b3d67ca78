"""How SQLite and PostgreSQL read JSON: the pieces that the views are made of.

Keys of JSON are words of moot's own formats, never a user's. All JSON in a store is canonical, so
that a value cut out of it is canonical too: PostgreSQL's ``json`` keeps the text as it stands.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from protocols.question import LABELS


class Dialect(ABC):
    """Expressions and tables of one database. ``value`` is an expression that holds JSON text."""

    lateral: str
    """What stands before a table made from a column of the table to its left."""
    by_bytes: str
    """The collation that sorts as Python does."""

    @abstractmethod
    def text(self, value: str, key: str) -> str:
        """Return the text under a key of an object."""

    @abstractmethod
    def number(self, value: str, key: str) -> str:
        """Return the number under a key."""

    @abstractmethod
    def integer(self, value: str, key: str) -> str:
        """Return the integer under a key."""

    @abstractmethod
    def flag(self, value: str, key: str) -> str:
        """Return the truth value under a key."""

    @abstractmethod
    def json(self, value: str, key: str) -> str:
        """Return the object or list under a key, as JSON text; NULL for null."""

    @abstractmethod
    def entries(self, value: str, alias: str) -> str:
        """Return the table (key, value as text) of an object."""

    @abstractmethod
    def weights(self, value: str, alias: str) -> str:
        """Return the table (key, value) of an object of numbers."""

    @abstractmethod
    def numbers(self, value: str, alias: str) -> str:
        """Return the table (key from 0, value) of a list of numbers."""

    @abstractmethod
    def arrays(self, value: str, alias: str) -> str:
        """Return the table (key from 0, value as JSON text) of a list of lists."""

    @abstractmethod
    def hex(self, value: str) -> str:
        """Return bytes as hexadecimal digits."""

    @abstractmethod
    def place(self, label: str) -> str:
        """Return the place of an option from its label; -1 for what is no label."""

    def label(self, place: str) -> str:
        """Return the label of an option from its place."""
        return f"substr('{LABELS}', CAST({place} AS integer) + 1, 1)"


class SqliteDialect(Dialect):
    """SQLite, from 3.38 on."""

    lateral = ""
    by_bytes = ""

    def text(self, value: str, key: str) -> str:
        """Return the text under a key of an object."""
        return f"json_extract({value}, '$.{key}')"

    number = integer = flag = json = text

    def entries(self, value: str, alias: str) -> str:
        """Return the table (key, value as text) of an object."""
        return f"json_each({value}) AS {alias}"

    weights = numbers = arrays = entries

    def hex(self, value: str) -> str:
        """Return bytes as hexadecimal digits."""
        return f"lower(hex({value}))"

    def place(self, label: str) -> str:
        """Return the place of an option from its label; -1 for what is no label."""
        return f"CASE WHEN length({label}) = 1 THEN instr('{LABELS}', {label}) - 1 ELSE -1 END"


class PostgresDialect(Dialect):
    """PostgreSQL, from 12 on."""

    lateral = "LATERAL"
    by_bytes = 'COLLATE "C"'

    def text(self, value: str, key: str) -> str:
        """Return the text under a key of an object."""
        return f"(CAST({value} AS json) ->> '{key}')"

    def number(self, value: str, key: str) -> str:
        """Return the number under a key."""
        return f"CAST({self.text(value, key)} AS double precision)"

    def integer(self, value: str, key: str) -> str:
        """Return the integer under a key."""
        return f"CAST({self.text(value, key)} AS integer)"

    def flag(self, value: str, key: str) -> str:
        """Return the truth value under a key."""
        return f"CAST({self.text(value, key)} AS boolean)"

    json = text

    def entries(self, value: str, alias: str) -> str:
        """Return the table (key, value as text) of an object."""
        return f"json_each_text(CAST({value} AS json)) AS {alias}"

    def weights(self, value: str, alias: str) -> str:
        """Return the table (key, value) of an object of numbers."""
        return (
            "(SELECT w.key, CAST(w.value AS double precision) AS value "
            f"FROM json_each_text(CAST({value} AS json)) AS w) AS {alias}"
        )

    def numbers(self, value: str, alias: str) -> str:
        """Return the table (key from 0, value) of a list of numbers."""
        return self._elements(value, alias, "CAST(w.value AS double precision)")

    def arrays(self, value: str, alias: str) -> str:
        """Return the table (key from 0, value as JSON text) of a list of lists."""
        return self._elements(value, alias, "w.value")

    def _elements(self, value: str, alias: str, element: str) -> str:
        return (
            f"(SELECT CAST(w.number AS integer) - 1 AS key, {element} AS value "
            f"FROM json_array_elements_text(CAST({value} AS json)) "
            f"WITH ORDINALITY AS w(value, number)) AS {alias}"
        )

    def hex(self, value: str) -> str:
        """Return bytes as hexadecimal digits."""
        return f"encode({value}, 'hex')"

    def place(self, label: str) -> str:
        """Return the place of an option from its label; -1 for what is no label."""
        return f"CASE WHEN length({label}) = 1 THEN strpos('{LABELS}', {label}) - 1 ELSE -1 END"


DIALECTS: dict[str, Dialect] = {"sqlite": SqliteDialect(), "postgresql": PostgresDialect()}
