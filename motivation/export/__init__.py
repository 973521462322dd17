"""Exporting models to files."""
