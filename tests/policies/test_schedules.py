import pytest

from motivation.errors import ConfigError
from motivation.policies import EpochSchedule, Periodic
from tests.policies.simulation import Simulation


def test_periodic_starts_with_the_base_model_and_repeats():
    active = Simulation([0.0] * 10, batches_per_epoch=10).run(Periodic(on=2, off=3)).active
    assert active == [i % 5 in (3, 4) for i in range(10)]


def test_epoch_schedule_trains_the_motivated_model_in_whole_epochs():
    active = Simulation([0.0] * 12, batches_per_epoch=2).run(EpochSchedule([(1, 3), [5, None]])).active
    assert active == [i // 2 in (1, 2, 5) for i in range(12)]


def test_first_batch_of_a_run_is_the_base_models():
    active = Simulation([0.0] * 4, batches_per_epoch=2).run(EpochSchedule([(0, None)])).active
    assert active == [False, True, True, True]


@pytest.mark.parametrize('epochs', [3, [3], [(3, 2)], [(-1, 2)], [('a', 2)], [(1, 2, 3)], None])
def test_invalid_spans_are_refused(epochs):
    with pytest.raises(ConfigError, match=r'^epochs must be .*, got '):
        EpochSchedule(epochs)


def test_empty_periods_are_refused():
    with pytest.raises(ConfigError, match=r'^on must be at least 1, got 0$'):
        Periodic(on=0, off=1)
