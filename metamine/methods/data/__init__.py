"""Meta-learners that make their own tasks, or learn from the description of tasks."""
