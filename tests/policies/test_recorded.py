import random
from collections import Counter
from pathlib import Path

import pytest

from motivation.errors import ConfigError
from motivation.policies import MatchedRandom, Replay
from motivation.policies.switch_trace import SwitchTrace
from tests.policies.simulation import Simulation


def record(motivated, folder='run'):
    trace = SwitchTrace()
    for flag, following in zip(motivated, [*motivated[1:], False], strict=True):
        trace.append(0, 1.0, flag, following)
    Path(folder).mkdir()
    trace.save(Path(folder))


def active(policy, batches):
    return Simulation([0.0] * batches, batches_per_epoch=batches).run(policy).active


def test_replay_repeats_the_recorded_batches():
    motivated = [False, True, True, False, False, True, False]
    record(motivated)
    assert active(Replay('run'), 7) == motivated
    assert active(Replay('run/switches.npz'), 7) == motivated


@pytest.mark.parametrize('seed', range(5))
def test_matched_random_has_exactly_the_recorded_number(seed):
    generator = random.Random(seed)
    motivated = [False] + [generator.random() < 0.3 for _ in range(199)]
    record(motivated)
    policy = MatchedRandom('run')
    policy.set_seed(seed)
    matched = active(policy, 200)
    assert sum(matched) == sum(motivated) and matched != motivated
    assert matched[0] is False


def test_matched_random_draws_every_choice_with_equal_probability():
    """Two of four batches, without the first: three choices, each in a third of 3,000 draws."""
    record([False, True, True, False])
    counts = Counter()
    for seed in range(3000):
        policy = MatchedRandom('run', seed=seed)
        counts[tuple(active(policy, 4))] += 1
    assert len(counts) == 3
    assert all(abs(count - 1000) < 4 * (3000 * 2 / 9) ** 0.5 for count in counts.values())


def test_matched_random_uses_the_seed_of_the_run_unless_it_has_its_own():
    record([False] + [True, False] * 50)

    def with_run_seed(run_seed, own=None):
        policy = MatchedRandom('run', seed=own)
        policy.set_seed(run_seed)
        return active(policy, 101)

    assert with_run_seed(1) == with_run_seed(1) != with_run_seed(2)
    assert with_run_seed(1, own=7) == with_run_seed(2, own=7)


@pytest.mark.parametrize('kind', [Replay, MatchedRandom])
def test_missing_switch_trace_is_refused(kind):
    with pytest.raises(ConfigError, match=r"'nowhere' has no switches\.npz"):
        kind('nowhere')
    with pytest.raises(ConfigError, match=r'^run must be a string or a path, got None$'):
        kind(None)
    Path('switches.npz').write_bytes(b'PK\x03\x04 half a file')
    with pytest.raises(ConfigError, match='corrupted or not a switch trace'):
        kind('.')


@pytest.mark.parametrize('kind', [Replay, MatchedRandom])
def test_run_of_another_length_is_refused(kind):
    record([False, True, False])
    with pytest.raises(ConfigError, match='recorded 3 batches, but this run has 5'):
        active(kind('run'), 5)
