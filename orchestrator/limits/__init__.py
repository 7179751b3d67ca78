"""What an endpoint allows: limits, gates, circuits, and the one retry policy."""
