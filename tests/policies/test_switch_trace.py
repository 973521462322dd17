import sys
from pathlib import Path

import numpy as np
import pytest

from motivation.errors import ConfigError
from motivation.policies.switch_trace import SwitchTrace
from motivation.utils.checkpoint import to_plain


def trace_of(motivated):
    trace = SwitchTrace()
    for index, flag in enumerate(motivated):
        decision = index + 1 < len(motivated) and bool(motivated[index + 1])
        trace.append(index // 2, 1 / (index + 1), bool(flag), decision)
    return trace


def columns(trace):
    return list(trace.epochs), list(trace.losses), list(trace.motivated), list(trace.decisions)


@pytest.mark.parametrize(
    ('motivated', 'spells'),
    [
        ([], []),
        ([0, 0], []),
        ([0, 1, 1, 0, 1], [(1, 3), (4, 5)]),
        ([1, 1], [(0, 2)]),
        ([1, 0, 1, 0], [(0, 1), (2, 3)]),
    ],
)
def test_spells_are_the_stretches_of_motivated_batches(motivated, spells):
    assert trace_of(motivated).spells() == spells


def test_fraction_is_the_share_of_motivated_batches():
    assert trace_of([0, 1, 1, 0, 1]).motivated_fraction == 3 / 5
    assert trace_of([]).motivated_fraction == 0


def test_batches_without_a_step_are_counted_for_no_model():
    trace = trace_of([0, 1, 1, 0, 1])
    trace.append(2, float('nan'), True, True)
    assert (trace.count_iters('base'), trace.count_iters('motivated')) == (2, 3)


def test_restored_trace_is_exact():
    trace, restored = trace_of([0, 1, 1]), SwitchTrace()
    restored.load_state_dict(trace.state_dict())
    assert restored.motivated_fraction == 2 / 3
    restored.append(1, 0.1, False, True)
    assert columns(restored) == ([0, 0, 1, 1], [1.0, 1 / 2, 1 / 3, 0.1], [0, 1, 1, 0], [1, 1, 0, 1])


def test_file_reads_back_exactly_and_is_plain_numpy(tmp_path):
    trace = trace_of([0, 1, 1, 0, 1])
    trace.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['switches.npz']
    for path in (tmp_path, tmp_path / 'switches.npz'):
        assert columns(SwitchTrace.load(path)) == columns(trace)
    with np.load(tmp_path / 'switches.npz', allow_pickle=False) as arrays:
        assert arrays['losses'].tolist() == [1.0, 1 / 2, 1 / 3, 1 / 4, 1 / 5]
        assert arrays['decisions'].tolist() == [1, 1, 0, 1, 0]
        assert arrays['epochs'].tolist() == [0, 0, 1, 1, 2]


def test_file_is_compact(tmp_path):
    """Half a million batches of independent losses need little more than 8 bytes each."""
    generator = np.random.default_rng(0)
    trace = SwitchTrace()
    trace.load_state_dict(
        {
            'epochs': np.arange(500_000) // 5000,
            'losses': generator.random(500_000),
            'motivated': (generator.random(500_000) < 1 / 6).astype(np.uint8),
            'decisions': np.zeros(500_000, np.uint8),
        }
    )
    trace.save(tmp_path)
    assert (tmp_path / 'switches.npz').stat().st_size < 4.5e6


def test_missing_or_corrupted_file_raises_one_sentence():
    with pytest.raises(ConfigError, match=r"'nowhere' has no switches\.npz; give the work_dir of a run"):
        SwitchTrace.load(Path('nowhere'))
    Path('switches.npz').write_bytes(b'PK\x03\x04 half a file')
    with pytest.raises(ConfigError, match=r"'switches\.npz' is corrupted or not a switch trace"):
        SwitchTrace.load(Path())
    np.savez('other.npz', a=np.zeros(3))
    with pytest.raises(ConfigError, match=r"'other\.npz' is corrupted or not a switch trace"):
        SwitchTrace.load(Path('other.npz'))


def test_a_batch_takes_at_most_20_bytes_in_memory_and_in_a_checkpoint():
    trace = SwitchTrace()
    for index in range(10_000):
        trace.append(index // 100, 1 / (index + 1), index % 3 == 0, index % 3 == 2)
    in_memory = sum(map(sys.getsizeof, (trace.epochs, trace.losses, trace.motivated, trace.decisions)))
    assert in_memory <= 20 * 10_000
    saved = to_plain(trace.state_dict())
    assert sum(column.nbytes for column in saved.values()) <= 20 * 10_000
