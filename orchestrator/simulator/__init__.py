"""The simulator: made-up hardware that drives a planner, baselines, and bounds on what can be."""
