import math
import random

import pytest

from motivation.errors import ConfigError
from motivation.policies import ConsecutiveDrop
from tests.policies.simulation import decide


def flags(*values):
    return [bool(value) for value in values]


@pytest.mark.parametrize(
    ('drops', 'losses', 'decisions'),
    [
        # Two consecutive drops start a spell, which continues while the loss drops and ends at the first rise.
        (2, [5, 4, 3, 2, 2.5, 2.4, 2.3, 9], [0, 0, 1, 1, 0, 0, 1, 0]),
        # One drop is enough, and every rise ends the spell.
        (1, [5, 4, 6, 5, 4, 4.1], [0, 1, 0, 1, 1, 0]),
        # An equal loss is not a drop.
        (1, [3, 3, 2, 2], [0, 0, 1, 0]),
        # Three consecutive drops, counted from zero after a rise.
        (3, [9, 8, 7, 8, 7, 6, 5, 4, 5], [0, 0, 0, 0, 0, 0, 1, 1, 0]),
        # Neither a NaN loss nor the loss after it is a drop.
        (1, [5, float('nan'), 4, 3], [0, 0, 0, 1]),
        # A loss after an infinite one is not a drop.
        (1, [5, float('inf'), 7, 6], [0, 0, 0, 1]),
    ],
)
def test_decides_by_consecutive_drops(drops, losses, decisions):
    assert decide(ConsecutiveDrop(drops), losses) == flags(*decisions)


@pytest.mark.parametrize(
    ('options', 'losses', 'decisions'),
    [
        # Averages with weight 0.5: 8, 6, 7, 5.5; the rise from 4 to 8 is a rise of the average too.
        (dict(drops=1, smoothing=0.5), [8, 4, 8, 4], [0, 1, 0, 1]),
        # Averages 8, 7, 6.5: a loss of 6 is no rise above any average, and a loss of 5 is below 5.5.
        (dict(drops=2, smoothing=0.5), [8, 6, 6, 6.4], [0, 0, 1, 1]),
        # Means of the last two: 8, 6, 5, 7, 6.5.
        (dict(drops=1, window=2), [8, 4, 6, 8, 5], [0, 1, 1, 0, 1]),
        # A drop must exceed 1: from 5 to 4 does not, from 4 to 2.9 does.
        (dict(drops=1, threshold=1.0), [5, 4, 2.9, 2], [0, 0, 1, 0]),
        # A drop must exceed a tenth of the previous loss: 10 to 9 does not, 9 to 8 does, 8 to 7.3 does not.
        (dict(drops=1, threshold=0.1, threshold_mode='rel'), [10, 9, 8, 7.3], [0, 0, 1, 0]),
        # A spell lasts three batches even if the loss rises at once.
        (dict(drops=1, min_spell=3), [5, 4, 6, 7, 8, 9], [0, 1, 1, 1, 0, 0]),
        # A spell lasts at most two batches even if the loss keeps dropping; after one base batch the next spell starts.
        (dict(drops=1, max_spell=2), [9, 8, 7, 6, 5, 4, 3], [0, 1, 1, 0, 1, 1, 0]),
        # Three base batches after a spell, during which drops are counted.
        (dict(drops=1, max_spell=1, cooldown=3), [9, 8, 7, 6, 5, 4, 3], [0, 1, 0, 0, 0, 1, 0]),
    ],
)
def test_options_change_the_decisions(options, losses, decisions):
    assert decide(ConsecutiveDrop(**options), losses) == flags(*decisions)


@pytest.mark.parametrize(
    ('across', 'decisions'),
    [
        (True, [0, 1, 1, 1, 1, 1]),
        # The first epoch ends after the third batch, which ends streak and spell; the fourth batch has no previous loss.
        (False, [0, 1, 0, 0, 1, 0]),
    ],
)
def test_streak_continues_across_epochs_unless_disabled(across, decisions):
    policy = ConsecutiveDrop(1, across_epochs=across)
    assert policy.signals == (set() if across else {'epoch'})
    assert decide(policy, [6, 5, 4, 3, 2, 1], batches_per_epoch=3) == flags(*decisions)


def test_epoch_starts_with_the_base_model_even_within_min_spell():
    policy = ConsecutiveDrop(1, min_spell=6, across_epochs=False)
    decisions = decide(policy, [9, 8, 7, 6, 9, 8, 7, 6], batches_per_epoch=4)
    assert decisions == flags(0, 1, 1, 0, 0, 1, 1, 0)  # the fourth decision is for the first batch of the next epoch


@pytest.mark.parametrize('drops', [1, 2, 3, 4])
def test_activates_on_independent_losses_with_probability_one_over_factorial(drops):
    generator = random.Random(0)
    policy, batches = ConsecutiveDrop(drops), 200_000
    rate = sum(policy.update(generator.random()) for _ in range(batches)) / batches
    expected = 1 / math.factorial(drops + 1)
    # Variance of the mean of a stationary sequence; decisions further than `drops` apart are independent, and
    # two decisions k apart are both positive with probability 1 / (drops + k + 1)!.
    variance = expected * (1 - expected) + 2 * sum(
        1 / math.factorial(drops + k + 1) - expected**2 for k in range(1, drops + 1)
    )
    assert abs(rate - expected) < 4 * (variance / batches) ** 0.5


@pytest.mark.parametrize('drops', [0, -1, 1.5, '2', True, None])
def test_invalid_drops_are_refused(drops):
    with pytest.raises(ConfigError, match=r'^drops must be (at least 1|a whole number), got '):
        ConsecutiveDrop(drops)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(smoothing=1.0), '^smoothing must be below 1, got 1.0$'),
        (dict(smoothing=0.5, window=2), 'give one of them'),
        (dict(window=0), '^window must be at least 1, got 0$'),
        (dict(threshold=-1), '^threshold must be at least 0, got -1$'),
        (dict(threshold_mode='relative'), "^threshold_mode must be 'abs' or 'rel', got 'relative'"),
        (dict(min_spell=4, max_spell=3), '^max_spell must be at least min_spell, which is 4, got 3$'),
        (dict(cooldown='long'), "^cooldown must be a whole number, got 'long'$"),
        (dict(across_epochs='no'), "^across_epochs must be True or False, got 'no'$"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        ConsecutiveDrop(**options)
