"""The unit of a metric, and how its numbers are written."""

from motivation.structures import lower_is_better


def named(metric: str) -> str:
    """Return a metric with its unit."""
    return f'{metric} in nats, lower is better' if lower_is_better(metric) else f'{metric} in percent'


def unit_of(metric: str) -> str:
    """Return the unit of a metric's differences."""
    return 'nats' if lower_is_better(metric) else 'points'


def form_of(metric: str) -> str:
    """Return the format of a metric's numbers."""
    return '.3f' if lower_is_better(metric) else '.2f'
