"""Verdicts of judges, and what they tell of them: right, consistent, biased, calibrated."""
