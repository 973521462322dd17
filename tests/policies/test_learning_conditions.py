import random

import pytest

from motivation.errors import ConfigError
from motivation.policies import LearningProgress
from tests.policies.simulation import decide


def flags(*values):
    return [bool(value) for value in values]


def test_learning_progress_follows_a_streak_above_the_median_of_the_batches_before():
    """Medians of the three before: of 1, 2, 3: 2; of 2, 3, 4: 3; of 3, 4, 5: 4; of 4, 5, 1: 4; of 5, 1, 6: 5."""
    progress = [None, 1, 2, 3, 4, 5, 1, 6, 5.5]
    policy = LearningProgress(drops=2, window=3)
    assert decide(policy, [0] * 9, sample_progress=progress) == flags(0, 0, 0, 0, 0, 1, 0, 0, 1)


def test_learning_progress_above_zero():
    progress = [None, 0.1, 0.2, 0.0, 0.3, 0.1, -0.1, None, 0.5]
    policy = LearningProgress(drops=2, reference='zero')
    assert decide(policy, [0] * 9, sample_progress=progress) == flags(0, 0, 1, 0, 0, 1, 0, 0, 0)


def test_batch_without_earlier_losses_ends_the_streak_and_is_not_in_the_median():
    progress = [1, None, 2, 3, float('nan'), 4]
    policy = LearningProgress(drops=1, window=2)
    assert decide(policy, [0] * 6, sample_progress=progress) == flags(0, 0, 0, 1, 0, 1)


@pytest.mark.parametrize('drops', [1, 2])
def test_rate_on_noise_is_that_of_a_coin_tossed_for_each_drop(drops):
    generator = random.Random(0)
    noise = [generator.lognormvariate(0, 1) for _ in range(20_000)]
    policy = LearningProgress(drops=drops, window=21)
    rate = sum(policy.update(0.0, value) for value in noise) / len(noise)
    assert rate == pytest.approx(0.5**drops, abs=0.01)


def test_invalid_options_are_refused():
    with pytest.raises(ConfigError, match=r'^drops must be at least 1, got 0$'):
        LearningProgress(drops=0)
    with pytest.raises(ConfigError, match=r"^reference must be 'median' or 'zero', got 'mean'"):
        LearningProgress(reference='mean')
