"""The unit of a metric, and how its numbers are written."""

from motivation.structures import kind_of


def named(metric: str) -> str:
    """Return a metric with its unit."""
    kind = kind_of(metric)
    if kind is None:
        return metric
    unit = f' in {kind.unit}' if kind.unit else ''
    return f'{metric}{unit}, lower is better' if kind.lower_is_better else f'{metric}{unit}'


def unit_of(metric: str) -> str:
    """Return the unit of a metric's differences; ``''`` for a metric without one."""
    kind = kind_of(metric)
    unit = '' if kind is None else kind.unit
    return 'points' if unit == 'percent' else unit


def form_of(metric: str) -> str:
    """Return the format of a metric's numbers: two decimals of percentages, else three."""
    kind = kind_of(metric)
    return '.2f' if kind is None or kind.unit == 'percent' else '.3f'
