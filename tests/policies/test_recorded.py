import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from motivation.errors import ConfigError
from motivation.policies import MatchedRandom, Replay
from motivation.policies.matching import draw_spells
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


def matched_traces(motivated, seeds, **options):
    """Return the trace of a recorded run, and those of its matched controls."""
    record(motivated)
    traces = [SwitchTrace.load(Path('run'))]
    for seed in seeds:
        trace = SwitchTrace()
        for flag in active(MatchedRandom('run', seed=seed, **options), len(motivated)):
            trace.append(0, 1.0, flag, False)
        traces.append(trace)
    return traces


def recorded_run(batches, rates, seed=1):
    """Return a run of spells, more of them where the rate is higher."""
    generator, motivated = random.Random(seed), [False]
    while len(motivated) < batches:
        awake = generator.random() < rates[len(motivated) * len(rates) // batches]
        motivated += [True] * generator.randint(1, 4) if awake and not motivated[-1] else [False]
    return motivated[:batches]


def counts_of(trace, windows):
    edges = [len(trace) * part // windows for part in range(windows + 1)]
    return [sum(trace.motivated[begin:end]) for begin, end in pairwise(edges)]


def lengths_of(trace):
    return sorted(end - begin for begin, end in trace.spells())


def test_matched_random_of_one_window_draws_as_the_paper_does():
    motivated = recorded_run(200, [0.2])
    (_, trace) = matched_traces(motivated, [7])
    drawn = random.Random(7).sample(range(1, 200), sum(motivated))
    assert [i for i, flag in enumerate(trace.motivated) if flag] == sorted(drawn)


def test_matched_random_keeps_the_number_of_each_window():
    recorded, *controls = matched_traces(recorded_run(203, [0.05, 0.5, 0.1]), range(5), windows=7)
    assert len(set(counts_of(recorded, 7))) > 3
    for trace in controls:
        assert counts_of(trace, 7) == counts_of(recorded, 7)
        assert trace.motivated != recorded.motivated and not trace.motivated[0]


@pytest.mark.parametrize('ends', [False, True], ids=['ends-base', 'ends-motivated'])
@pytest.mark.parametrize('windows', [1, 7, 60])
def test_matched_random_keeps_the_spells_and_the_number_of_each_window(windows, ends):
    motivated = recorded_run(203, [0.05, 0.5, 0.9])
    motivated[-3:] = [False, ends, ends]
    recorded, *controls = matched_traces(motivated, range(20), windows=windows, spells=True)
    for trace in controls:
        assert lengths_of(trace) == lengths_of(recorded)
        assert counts_of(trace, windows) == counts_of(recorded, windows)
        assert not trace.motivated[0]
    assert len({bytes(trace.motivated) for trace in controls}) > 15


def test_spell_across_the_end_of_a_window_stays():
    """Two windows of five: the spell of batches 4 and 5 stays, that of 2 has 1 and 2, and that of 8 has 7, 8 and 9."""
    motivated = [False, False, True, False, True, True, False, False, True, False]
    _, *controls = matched_traces(motivated, range(60), windows=2, spells=True)
    seen = Counter(tuple(trace.spells()) for trace in controls)
    assert set(seen) == {((a, a + 1), (4, 6), (b, b + 1)) for a in (1, 2) for b in (7, 8, 9)}


def test_every_order_and_place_of_spells_is_equally_likely():
    """Spells of 1 and 2 in batches 1 to 5, apart: three places for each of two orders."""
    draws, spells = 3000, [(1, 2), (3, 5)]
    counts = Counter(frozenset(draw_spells(random.Random(seed), spells, 6, windows=1)) for seed in range(draws))
    assert set(counts) == {
        *(frozenset(batches) for batches in ([1, 3, 4], [1, 4, 5], [2, 4, 5])),
        *(frozenset(batches) for batches in ([1, 2, 4], [1, 2, 5], [2, 3, 5])),
    }
    assert all(abs(count - draws / 6) < 4 * (draws * 5 / 36) ** 0.5 for count in counts.values())


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
