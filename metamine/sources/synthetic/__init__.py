"""Priors: endless tasks, drawn for a whole batch of tasks at once."""
