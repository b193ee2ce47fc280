"""Fetching from OpenML: the only part that uses a network, and the openml package."""
