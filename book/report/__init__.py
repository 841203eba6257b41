"""Records in, tables and plots out. Nothing in here imports torch."""
