"""OpenML: fetched once, checked, and kept in a store that runs read without a network."""
