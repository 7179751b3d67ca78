"""Recruiting: profiles measured, skills named, rules chosen, and what they were worth."""
