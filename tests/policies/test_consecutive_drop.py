import random

import pytest

from motivation.errors import ConfigError
from motivation.policies import ConsecutiveDrop


@pytest.mark.parametrize(
    ('drops', 'losses', 'decisions'),
    [
        # Two drops in a row wake it, it stays while the loss drops, the first rise ends it.
        (2, [5, 4, 3, 2, 2.5, 2.4, 2.3, 9], [0, 0, 1, 1, 0, 0, 1, 0]),
        # One drop is enough, and each rise ends the spell.
        (1, [5, 4, 6, 5, 4, 4.1], [0, 1, 0, 1, 1, 0]),
        # An equal loss is not a drop.
        (1, [3, 3, 2, 2], [0, 0, 1, 0]),
        # Three in a row, counted anew after the rise.
        (3, [9, 8, 7, 8, 7, 6, 5, 4, 5], [0, 0, 0, 0, 0, 0, 1, 1, 0]),
        # A loss that is not a number neither is a drop nor lets the next one be.
        (1, [5, float('nan'), 4, 3], [0, 0, 0, 1]),
    ],
)
def test_decides_by_drops_in_a_row(drops, losses, decisions):
    policy = ConsecutiveDrop(drops)
    assert [policy.update(loss) for loss in losses] == [bool(decision) for decision in decisions]


@pytest.mark.parametrize(('drops', 'expected'), [(1, 1 / 2), (2, 1 / 6), (3, 1 / 24)])
def test_on_independent_losses_wakes_with_probability_one_over_factorial(drops, expected):
    generator = random.Random(0)
    policy = ConsecutiveDrop(drops)
    batches = 60_000
    rate = sum(policy.update(generator.random()) for _ in range(batches)) / batches
    # Neighbouring decisions correlate, so allow five times the deviation of as many independent ones.
    assert abs(rate - expected) < 5 * (expected * (1 - expected) / batches) ** 0.5


def test_restored_policy_decides_as_the_original():
    losses = [random.Random(1).random() for _ in range(40)]
    original, restored = ConsecutiveDrop(2), ConsecutiveDrop(2)
    for loss in losses[:20]:
        original.update(loss)
    restored.load_state_dict(original.state_dict())
    assert [restored.update(loss) for loss in losses[20:]] == [original.update(loss) for loss in losses[20:]]


def test_state_carries_a_streak_across_a_restart():
    original, restored = ConsecutiveDrop(2), ConsecutiveDrop(2)
    original.update(3)
    original.update(2)
    restored.load_state_dict(original.state_dict())
    assert restored.update(1) is True


@pytest.mark.parametrize('drops', [0, -1, 1.5, '2', True, None])
def test_refuses_impossible_drops(drops):
    with pytest.raises(ConfigError, match=r'motivation\.policy\.drops is'):
        ConsecutiveDrop(drops)
