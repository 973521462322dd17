"""Where the curves of a run go."""
