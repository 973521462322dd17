"""The results of a run as a structure, tables and pictures."""
