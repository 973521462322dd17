import pytest
import torch

from motivation.weight_maps.copy_plan import CopyPlan, aligned_views, flat_index
from motivation.weight_maps.index import mesh

RANDOM = (0, 3, 4)
CASES = {
    'whole': ((4, 3), (4, 3), ()),
    'leading': ((2, 3), (4, 5), ((0, 1), (0, 1, 2))),
    'fused': ((6, 3), (12, 3), ((0, 1, 4, 5, 8, 9), None)),
    'convolution': ((2, 3, 3, 3), (4, 6, 3, 3), ((0, 1), (0, 2, 4), None, None)),
    'random rows': ((3, 4), (6, 4), (RANDOM, None)),
    'random both': ((3, 3, 2, 2), (6, 5, 2, 2), (RANDOM, RANDOM, None, None)),
    'backwards': ((3, 4), (6, 4), ((5, 4, 3), None)),
    'number': ((), (), ()),
}


@pytest.mark.parametrize('layout', ['contiguous', 'channels_last'])
@pytest.mark.parametrize('case', CASES)
def test_copies_exactly_the_image_in_both_directions(case, layout):
    shape, wider, index = CASES[case]
    base, motivated = torch.randn(shape), torch.randn(wider)
    if layout == 'channels_last' and len(shape) == 4:
        base, motivated = (x.to(memory_format=torch.channels_last) for x in (base, motivated))
    before, expected = motivated.clone(), motivated.clone()
    image = mesh(index, wider) if wider else ...
    expected[image] = base
    CopyPlan([(base, motivated, index)]).copy('base')
    assert torch.equal(motivated, expected)
    motivated.copy_(before)
    CopyPlan([(base, motivated, index)]).copy('motivated')
    assert torch.equal(base, before[image]) and torch.equal(motivated, before)


def test_regular_index_is_a_view_and_a_random_one_is_not():
    base, motivated = torch.zeros(6, 3), torch.zeros(12, 3)
    views = aligned_views(base, motivated, ((0, 1, 4, 5, 8, 9), None))
    assert views[0].shape == views[1].shape == (3, 2, 3)
    assert views[1].untyped_storage().data_ptr() == motivated.untyped_storage().data_ptr()
    assert aligned_views(torch.zeros(3, 3), motivated, ((0, 3, 4), None)) is None


def test_rows_of_a_random_index_are_as_wide_as_possible():
    base, motivated = torch.zeros(3, 3, 2, 2), torch.zeros(6, 5, 2, 2)
    assert flat_index(base, motivated, (RANDOM, RANDOM, None, None)).base.shape == (9, 4)
    assert flat_index(torch.zeros(3, 5, 2, 2), motivated, (RANDOM, None, None, None)).base.shape == (3, 20)


def test_plan_does_not_fit_tensors_with_other_memory():
    base, motivated = torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(3))
    plan = CopyPlan([(base, motivated, ())])
    assert plan.fits([(base, motivated, ())])
    motivated.data = motivated.data.clone()
    assert not plan.fits([(base, motivated, ())])


@pytest.mark.parametrize('index', [((0, 1, 2),), (RANDOM,)])
def test_tensors_of_two_dtypes_are_copied(index):
    base, motivated = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float16), torch.zeros(6)
    CopyPlan([(base, motivated, index)]).copy('base')
    assert motivated[list(index[0])].tolist() == [1, 2, 3]
    motivated *= 2
    CopyPlan([(base, motivated, index)]).copy('motivated')
    assert base.tolist() == [2, 4, 6]
