import random

import pytest

from motivation.errors import ConfigError
from motivation.policies import All, GradientAgreement, HeldInDrop, LearningProgress
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


def test_held_in_drop_decides_with_every_measurement_until_the_next():
    losses = [None, 3.0, None, 2.0, None, 1.5, None, 1.5, None]
    assert decide(HeldInDrop(drops=2, every=2), [0] * 9, held_in_loss=losses) == flags(0, 0, 0, 0, 0, 1, 1, 0, 0)


def test_policies_within_another_agree_on_how_to_measure():
    same = All([HeldInDrop(every=5), HeldInDrop(drops=1, every=5)])
    assert same.signal_options == {'held_in_loss': {'every': 5, 'images': 256}}
    with pytest.raises(ConfigError, match=r"ask for 'held_in_loss' with .*5.* and with .*7.*: make them agree"):
        All([HeldInDrop(every=5), HeldInDrop(every=7)]).signal_options  # noqa: B018, raises


def test_gradient_agreement_above_a_threshold():
    agreement = [None, 0.2, 0.1, float('nan'), 0.11]
    assert decide(GradientAgreement(above=0.1), [0] * 5, grad_agreement=agreement) == flags(0, 1, 0, 0, 1)


def test_gradient_agreement_above_a_quantile_of_those_before():
    """Of three values the second is the median, and the largest the quantile 3/4."""
    agreement = [0.1, 0.3, 0.2, 0.25, 0.35, 0.24]
    assert decide(GradientAgreement(quantile=0.5, window=3), [0] * 6, grad_agreement=agreement) == flags(
        0, 0, 0, 1, 1, 0
    )
    assert decide(GradientAgreement(quantile=0.75, window=3), [0] * 6, grad_agreement=agreement) == flags(
        0, 0, 0, 0, 1, 0
    )


def test_rate_of_gradient_agreement_on_noise_is_one_minus_the_quantile():
    generator = random.Random(0)
    policy = GradientAgreement(quantile=0.8)
    rate = sum(policy.update(0.0, generator.betavariate(2, 5)) for _ in range(20_000)) / 20_000
    assert rate == pytest.approx(0.2, abs=0.01)


def test_invalid_options_of_agreement_are_refused():
    with pytest.raises(ConfigError, match='give exactly one of above, quantile'):
        GradientAgreement()
    with pytest.raises(ConfigError, match=r'^above must be at most 1 or None, got 2$'):
        GradientAgreement(above=2)
    with pytest.raises(ConfigError, match=r'^every must be at least 1, got 0$'):
        HeldInDrop(every=0)
