"""The Pareto front of a metric against training FLOPs."""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from motivation.structures import MODEL_NAMES, lower_is_better


def mark_front(arms: Sequence[dict[str, Any]], metric: str) -> None:
    """Add ``'pareto'`` to each arm: the names of the models for which it is on the front.

    An arm is on the front of a model if no other arm has at least its mean metric at no more mean total training FLOPs,
    one of the two strictly better. Arms that do not train the model, or whose FLOPs were not counted, are left out.

    Args:
        arms: Arms with their ``'summary'``, baselines included.
        metric: The metric; of a loss, lower is better.
    """
    sign = -1 if lower_is_better(metric) else 1
    for arm in arms:
        arm['pareto'] = []
    for model in MODEL_NAMES:
        known = [arm for arm in arms if arm['summary'][model] and arm['summary']['total_train_flops']]
        points = [(arm['summary']['total_train_flops']['mean'], sign * arm['summary'][model]['mean']) for arm in known]
        for place in find_front(points):
            known[place]['pareto'].append(model)


def find_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the places of the points on the Pareto front, from the cheapest on.

    A point is on it if no other has at least its value at no more cost, one of the two strictly better; of equal points
    each is. It takes as long as sorting them.

    Args:
        points: Cost and value of each; those with a value that is not finite are left out.
    """
    finite = [place for place, (_, value) in enumerate(points) if math.isfinite(value)]
    front: list[int] = []
    best = -math.inf
    for _, group in groupby(sorted(finite, key=lambda place: points[place][0]), key=lambda place: points[place][0]):
        places = list(group)
        top = max(points[place][1] for place in places)
        if top > best:
            best = top
            front += [place for place in places if points[place][1] == top]
    return front
