"""Arms of an experiment run over seeds, and what their results support."""
