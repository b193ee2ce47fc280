"""Learners that see one task at a time: what meta-learning has to beat."""
