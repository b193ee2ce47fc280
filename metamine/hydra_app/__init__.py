"""Hydra commands: how they start, what a job is, and what is checked before one."""
