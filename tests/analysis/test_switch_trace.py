import pytest

from motivation.analysis.switch_trace import SwitchTrace


def trace_of(motivated):
    trace = SwitchTrace()
    for index, flag in enumerate(motivated):
        trace.append(1 / (index + 1), bool(flag))
    return trace


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
def test_spells_are_the_runs_of_motivated_batches(motivated, spells):
    assert trace_of(motivated).spells() == spells


def test_fraction_is_the_share_of_motivated_batches():
    assert trace_of([0, 1, 1, 0, 1]).motivated_fraction == 3 / 5
    assert trace_of([]).motivated_fraction == 0


def test_restored_trace_is_exact():
    trace, restored = trace_of([0, 1, 1]), SwitchTrace()
    restored.load_state_dict(trace.state_dict())
    restored.append(0.1, False)
    assert list(restored.losses) == [1.0, 1 / 2, 1 / 3, 0.1]
    assert list(restored.motivated) == [0, 1, 1, 0]
