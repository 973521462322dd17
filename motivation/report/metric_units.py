"""The unit of a metric, and how its numbers are written."""

from collections.abc import Mapping

from motivation.errors import listed
from motivation.structures import PER_CLASS, is_per_class, kind_of

# Single classes that a line shows.
_SHOWN = 10


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


def metric_lines(metrics: Mapping[str, float]) -> list[str]:
    """Return a line for each metric, and of those of single classes one line with the ten lowest.

    Args:
        metrics: Values by name, such as ``'base/accuracy/top1'`` and ``'base/f1/class/daisy'``.
    """
    lines: list[str] = []
    classes: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        if is_per_class(name):
            metric, _, label = name.partition(f'/{PER_CLASS}/')
            classes.setdefault(metric, {})[label] = value
        else:
            lines.append(f'{name}: {value:{form_of(name)}}')
    for metric, values in classes.items():
        lowest = sorted(values, key=lambda label: values[label])[:_SHOWN] if len(values) > _SHOWN else [*values]
        shown = ', '.join(f'{listed(label, beside_numbers=True)} {values[label]:{form_of(metric)}}' for label in lowest)
        some = f', the {_SHOWN} lowest of {len(values):,}' if len(values) > _SHOWN else ''
        lines.append(f'{metric} of single classes{some}: {shown}')
    return lines
