"""OpenML as runs know it: lists of suites, and the store of tables that prefetch fills."""
