"""Experiments: arms run over seeds, with tables of the results and verdicts on claims."""
