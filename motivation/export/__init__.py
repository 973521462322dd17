"""Exporting models to files, in formats that run without this framework."""
