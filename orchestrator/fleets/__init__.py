"""Fleets: where engines live, in this process or as Ray actors."""
