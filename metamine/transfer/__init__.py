"""Transfer: which tables to train on for which others, and what foretells that it helps."""
