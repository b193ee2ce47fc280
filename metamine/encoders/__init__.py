"""Networks that turn the rows of any table into embeddings."""
