"""Preference pairs that others label: candidates, sheets for people, labels read back, and the pairs they agree on."""
