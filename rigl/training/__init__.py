"""One run: a config in, a record out."""
