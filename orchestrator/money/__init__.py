"""What a run costs: reserved, settled, leased, and what a cache saves."""
