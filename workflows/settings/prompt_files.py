"""Files of prompts: a protocol's sections in a user's own words, one file for many of them.

A file holds sections, each opened by a line ``[[template.section]]``, as moot's own templates do
with ``[[section]]``. Its content, not its path, is part of a session's identity.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from protocols.errors import Mistake
from protocols.wording import read_prompts


def read_prompt_file(path: str, where: str) -> dict[str, str]:
    """Return the prompts that a file holds.

    Args:
        path: of the file.
        where: how messages name the key that names the file.

    Raises:
        Mistake: it cannot be read, or is no file of prompts.
    """
    try:
        return read_prompts(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise Mistake(f"{where}: {path}: no such file; check the path") from None
    except UnicodeDecodeError:
        raise Mistake(f"{where}: {path}: is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise Mistake(f"{where}: {path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise Mistake(f"{where}: {path}: {error}") from None


def with_prompts(parameters: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the parameters of a protocol with the prompts of the file that they name.

    Raises:
        Mistake: see :func:`read_prompt_file`.
    """
    named = parameters.get("prompts")
    if not isinstance(named, str):
        return parameters
    return {**parameters, "prompts": read_prompt_file(named, f"{where}.prompts")}
