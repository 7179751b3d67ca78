"""Models of a hub: brought into its cache on this machine, once; from then on no network is needed.

What is whole in the cache is taken as it is, and nobody is asked. Else the hub is asked one short
question, so that a name that does not exist and a network that is not there are told at once, and
then the files are fetched that an expert needs: weights as safetensors, settings, the tokenizer.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import logging as hub_logging
from huggingface_hub.utils.tqdm import disable_progress_bars

from protocols.errors import Mistake

PATIENCE_S = 10.0
"""How long the hub may take to answer the one question."""
_SETTINGS = ["*.json", "*.jinja", "*.model", "*.txt"]
_FOLDERS = ["*/*"]
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")

Names = Callable[[Path], list[str]]
"""Returns the names of the files that hold the weights of the model in a folder."""


def hub_folder(name: str, revision: str, names: Names) -> Path:
    """Return the folder in the cache that holds a model, which is fetched where it is not whole.

    Args:
        name: the model's id on the hub.
        revision: a branch, a tag or a commit; "" is the main branch, as it was when it was fetched.
        names: of the files with its weights, once its other files are there.

    Raises:
        Mistake: there is no such model, or the hub does not give it, in one line.
    """
    wanted = revision or None
    try:
        kept = Path(
            snapshot_download(
                name, revision=wanted, local_files_only=True, allow_patterns=["config.json"]
            )
        )
        if _whole(kept, names):
            return kept
    except LocalEntryNotFoundError:
        pass
    except ValueError as error:  # no name of a repository
        raise Mistake(f"{name}: {_line(error)}; write a folder as ./folder") from None
    _be_quiet()
    try:
        HfApi().model_info(name, revision=wanted, timeout=PATIENCE_S)
        folder = snapshot_download(
            name, revision=wanted, allow_patterns=_SETTINGS, ignore_patterns=_FOLDERS
        )
        snapshot_download(name, revision=wanted, allow_patterns=names(Path(folder)))
    except Mistake:
        raise
    except Exception as error:  # noqa: BLE001 - networks fail in the words of many libraries
        raise Mistake(f"{name}: {_refusal(error, revision)}") from None
    return Path(folder)


def _refusal(error: Exception, revision: str) -> str:
    """Say why the hub does not give a model."""
    if isinstance(error, GatedRepoError):
        return "its owners let in who asked them; ask on its page, and set HF_TOKEN"
    if isinstance(error, RevisionNotFoundError):
        return f"has no revision {revision!r} on the hub"
    if isinstance(error, RepositoryNotFoundError):
        return "no such model on the hub; check the name, or write a folder as ./folder"
    if isinstance(error, OfflineModeIsEnabled):
        return "is not whole in the hub's cache, and HF_HUB_OFFLINE forbids to fetch it"
    if isinstance(error, HfHubHTTPError):
        return f"the hub does not give it ({_line(error)})"
    return (
        f"is not whole in the hub's cache, and the hub cannot be reached ({_line(error)}); fetch "
        "it where there is a network, or write a folder as ./folder"
    )


def _whole(folder: Path, names: Names) -> bool:
    """Whether a folder of the cache holds all that an expert needs."""
    if not (folder / "config.json").is_file():
        return False
    if not any((folder / one).is_file() for one in _TOKENIZERS):
        return False
    return all((folder / one).is_file() for one in names(folder))


def _be_quiet() -> None:
    """Let what the hub's library reports be told by this module's messages alone."""
    if "HF_HUB_VERBOSITY" not in os.environ:
        hub_logging.set_verbosity_error()
    disable_progress_bars()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
