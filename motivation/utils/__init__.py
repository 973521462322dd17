"""Helpers that know no model: files, folders, logs, processes, signals and random states."""
