"""One thin file per command word."""
