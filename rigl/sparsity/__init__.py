"""Masks on anybody's model: methods, distributions, FLOPs, and the one-line `Sparsifier`."""
