"""The Pareto front, against its definition."""

import random

from motivation.comparison.pareto import find_front, mark_front


def is_on_front(points, place):
    cost, value = points[place]
    return not any(
        other != place and (c <= cost and v >= value) and (c < cost or v > value) for other, (c, v) in enumerate(points)
    )


def test_front_is_what_its_definition_says_also_of_equal_points():
    generator = random.Random(0)
    for _ in range(200):
        points = [(generator.randrange(6), generator.randrange(6)) for _ in range(generator.randrange(12))]
        front = find_front(points)
        assert sorted(front) == [place for place in range(len(points)) if is_on_front(points, place)], points
        assert [points[place][0] for place in front] == sorted(points[place][0] for place in front)


def test_a_value_that_is_not_finite_neither_is_on_the_front_nor_hides_another():
    assert find_front([(1, float('nan')), (2, 5.0), (1, float('inf')), (3, 4.0)]) == [1]


def arm(label, flops, **metrics):
    numbers = {'base': None, 'motivated': None, **metrics, 'total_train_flops': flops}
    return {
        'arm': label,
        'summary': {name: value if value is None else {'mean': value} for name, value in numbers.items()},
    }


def fronts(arms, metric):
    mark_front(arms, metric)
    return {one['arm']: one['pareto'] for one in arms}


def test_each_model_has_its_own_front_on_which_baselines_count():
    arms = [
        arm('never', 100, base=50), arm('always', 400, motivated=60), arm('cheap', 90, base=49, motivated=55),
        arm('good', 160, base=54, motivated=61), arm('beaten', 170, base=53, motivated=58), arm('uncounted', None, base=99),
    ]  # fmt: skip
    assert fronts(arms, 'accuracy/top1') == {
        'never': ['base'],
        'always': [],
        'cheap': ['base', 'motivated'],
        'good': ['base', 'motivated'],
        'beaten': [],
        'uncounted': [],
    }
    assert fronts(arms, 'loss/cross_entropy') == {
        'never': [], 'always': [], 'cheap': ['base', 'motivated'], 'good': [], 'beaten': [], 'uncounted': []
    }  # fmt: skip
