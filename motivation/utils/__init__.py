"""What is about no model: files, folders, logs, processes, signals and random states."""
