"""What went wrong in a run, in words: so that nobody has to look for it in a transcript."""

from __future__ import annotations

from collections import Counter

from orchestrator.store import Store

FEW = 1_000
"""So many of a run's sessions are looked at."""


def usual_failure(store: str, run_id: int) -> str | None:
    """Return what most of the failed replies of a run say; None where none failed.

    Args:
        store: where the run is kept.
        run_id: the run, of which the first thousand sessions are looked at.

    Raises:
        Mistake: the store cannot be read.
    """
    with Store.read(store) as opened:
        page = next(iter(opened.session_pages(run_id, at_once=FEW)), [])
        said = Counter(
            str(reply["failure_message"])
            for reply in opened.reply_rows([session.id for session in page])
            if reply["accepted"] and reply["failure_message"]
        )
    return said.most_common(1)[0][0] if said else None
