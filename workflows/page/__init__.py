"""The page of a run, or of several beside each other: one file that needs nothing from outside.

``material`` reads the store, ``findings_of`` and its neighbours make plain values of what was read,
``plots`` draws them, and ``render`` writes them as HTML, Markdown, SVG and PNG.
"""
