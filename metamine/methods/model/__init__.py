"""Meta-learners whose network generates, or is, the task's model."""
