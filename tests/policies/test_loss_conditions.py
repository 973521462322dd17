import pytest

from motivation.errors import ConfigError
from motivation.policies import LossBelow, LossRise, LossZScore, Plateau
from tests.policies.simulation import decide


@pytest.mark.parametrize(
    ('policy', 'losses', 'decisions'),
    [
        # The opposite of the paper's condition: two rises start a spell, the first loss without a rise ends it.
        (LossRise(2), [1, 2, 3, 4, 4, 5, 6, 5], [0, 0, 1, 1, 0, 0, 1, 0]),
        (LossBelow(1.0), [2, 0.9, 1.0, 0.5, float('nan')], [0, 1, 0, 1, 0]),
        # Averages with weight 0.5: 2, 1.25, 0.875, 1.9375.
        (LossBelow(1.0, smoothing=0.5), [2, 0.5, 0.5, 3], [0, 0, 1, 0]),
        # The best is 5. 5, 6 and 5.1 are no better, so the spell starts after the third; 4 is better and ends it.
        (Plateau(patience=3, threshold=0.0, smoothing=0.0), [5, 5, 6, 5.1, 7, 4, 4, 4, 4], [0, 0, 0, 1, 1, 0, 0, 0, 1]),
        # A new best must be lower by a tenth: 4.6 is not, 4.4 is.
        (Plateau(patience=1, threshold=0.1, smoothing=0.0), [5, 4.6, 4.4, 4.4], [0, 1, 0, 1]),
        # Mean 2, deviation 1 of (1, 3): below -1 means below 1. Then of (3, 0.9) and of (0.9, 3).
        (LossZScore(below=-1.0, window=2), [1, 3, 0.9, 3], [0, 0, 1, 0]),
        (LossZScore(above=1.5, window=2), [1, 3, 3.4, 3.6, 5], [0, 0, 0, 1, 1]),
        # Equal losses have no z-score.
        (LossZScore(above=1.0, window=2), [1, 1, 5], [0, 0, 0]),
    ],
    ids=lambda value: repr(value) if hasattr(value, 'update') else None,
)
def test_decisions_follow_from_the_definition(policy, losses, decisions):
    assert decide(policy, losses) == [bool(decision) for decision in decisions]


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: LossRise(0), '^rises must be at least 1, got 0$'),
        (lambda: LossBelow('low'), "^threshold must be a finite number, got 'low'$"),
        (lambda: LossBelow(1.0, smoothing=2), '^smoothing must be below 1, got 2$'),
        (lambda: Plateau(patience=0), '^patience must be at least 1, got 0$'),
        (
            lambda: LossZScore(),
            '^below is None, above is None; give exactly one of below, above$',
        ),
        (lambda: LossZScore(below=-1, above=1), 'give exactly one'),
        (lambda: LossZScore(below=-1, window=1), '^window must be at least 2, got 1$'),
    ],
)
def test_invalid_options_are_refused(build, message):
    with pytest.raises(ConfigError, match=message):
        build()
