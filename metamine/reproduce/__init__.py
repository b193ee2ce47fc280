"""Published tables: what is run for one, and where its numbers were printed."""
