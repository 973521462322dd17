import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from motivation.weight_maps.index import as_progressions, format_positions, mesh, parse_positions


@pytest.mark.parametrize(
    ('positions', 'text'),
    [(None, ':'), ((0, 1, 2), '0:3'), ((0, 1, 4, 5, 9), '0:2,4:6,9:10'), ((2, 1), '2:3,1:2')],
)
def test_positions_as_text(positions, text):
    assert format_positions(positions) == text
    assert parse_positions(text) == positions


@given(st.lists(st.integers(0, 50), min_size=1, unique=True))
def test_positions_are_restored_from_text(positions):
    assert parse_positions(format_positions(positions)) == tuple(positions)


def spell_out(levels, start):
    positions = [start]
    for count, step in levels:
        positions = [place + step * i for place in positions for i in range(count)]
    return positions


@pytest.mark.parametrize(
    ('positions', 'levels'),
    [
        ((0, 1, 2, 3), [(4, 1)]),
        ((0, 1, 8, 9, 16, 17), [(3, 8), (2, 1)]),
        ((0, 1, 4, 5, 16, 17, 20, 21), [(2, 16), (2, 4), (2, 1)]),
        ((7,), [(1, 1)]),
        ((0, 1, 3), None),
        ((3, 2, 1), None),
        ((0, 1, 8, 10), None),
    ],
)
def test_regular_patterns_are_nested_progressions(positions, levels):
    assert as_progressions(positions) == levels


@given(st.lists(st.integers(0, 40), min_size=1, unique=True).map(sorted).map(tuple))
def test_progressions_restore_the_positions(positions):
    levels = as_progressions(positions)
    if levels is not None:
        assert spell_out(levels, positions[0]) == list(positions)


def test_mesh_selects_the_entries_of_every_dimension():
    tensor = torch.arange(24).view(4, 6)
    assert tensor[mesh(((0, 2), None), tensor.shape)].tolist() == tensor[[0, 2]].tolist()
    assert tensor[mesh(((0, 2), (1, 5)), tensor.shape)].tolist() == [[1, 5], [13, 17]]
    assert tensor[mesh((), tensor.shape)].tolist() == tensor.tolist()
