"""Meta-learners that compare rows in a learned space."""
