"""What a workflow file says: its keys, their checks in themselves, and the files that it names."""
