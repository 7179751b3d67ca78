"""Recruiting: which experts of a pool are asked a question; see ``steps.py`` and ``rules.py``."""
