"""The comparison of protocols: its table, its baselines, its price, and what it says in words."""
