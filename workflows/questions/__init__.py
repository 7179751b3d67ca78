"""Questions and their gold answers: read from files of many kinds, and kept apart."""
