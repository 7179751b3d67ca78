"""Recorded sessions of the NYU debates: read, folded into protocols, stored, compared."""
