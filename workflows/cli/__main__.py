"""``python -m workflows.cli`` is ``moot``."""

from __future__ import annotations

from workflows.cli import main

main()
