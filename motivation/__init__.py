"""Train a small and a large image model in one run that costs less than the large one alone."""

__version__ = '0.1.0'
