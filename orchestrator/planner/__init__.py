"""The planner: which asks go where, and when. A sans-IO state machine and its choices."""
