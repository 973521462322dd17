import pytest

from motivation.weight_maps.tracing.spaces import Space, SpaceError, compose, cut, factor, flatten, unify


def sizes(space, kind='product'):
    return [part.size for part in flatten(space, kind)]


def test_unified_spaces_are_one():
    one, other, third = Space(8), Space(8), Space(8)
    unify(one, other)
    unify(other, third)
    assert one.find() is other.find() is third.find()


def test_different_sizes_do_not_unify():
    with pytest.raises(SpaceError, match='8 channels meet 9'):
        unify(Space(8), Space(9))


def test_reshape_splits_a_fused_space_into_its_factors_and_back():
    fused = Space(3 * 4 * 8)
    parts = factor([fused], [3, 4, 8])
    assert sizes(fused) == [3, 4, 8]
    (merged,) = factor(parts[1:], [32])
    assert [a is b for a, b in zip(flatten(merged, 'product'), flatten(fused, 'product')[1:], strict=True)] == [
        True,
        True,
    ]


def test_reshape_of_two_dimensions_into_two_others_refines_both():
    first, second = Space(2), Space(12)
    result = factor([first, second], [6, 4])
    assert sizes(result[0]) == [2, 3] and sizes(second) == [3, 4]
    assert flatten(result[1], 'product')[0] is flatten(second, 'product')[1]


def test_reshape_that_cuts_across_factors_is_refused():
    fused = Space(12)
    factor([fused], [3, 4])
    with pytest.raises(SpaceError):
        factor([fused], [4, 3])


def test_a_single_head_is_a_factor_like_many():
    """Base with one head in a motivated model of three: both are 3 x heads x width."""
    fused = Space(3 * 1 * 8)
    factor([fused], [3, 1, 8])
    assert sizes(fused) == [3, 1, 8]


def test_products_of_different_factors_unify_in_a_common_refinement():
    one, other = Space(24), Space(24)
    factor([one], [6, 4])
    factor([other], [3, 8])
    unify(one, other)
    assert sizes(one) == sizes(other) == [3, 2, 4]
    assert all(a.find() is b.find() for a, b in zip(flatten(one, 'product'), flatten(other, 'product'), strict=True))


def test_concatenation_is_a_sum_and_cutting_gives_its_terms_back():
    left, right = Space(5), Space(7)
    both = compose('sum', [left, right])
    assert both.size == 12
    assert cut(both, [5, 7]) == [left, right]
    head, tail = cut(both, [5 + 3, 4])
    assert sizes(head, 'sum') == [5, 3] and sizes(tail, 'sum') == [4]


def test_separate_q_k_v_biases_are_the_fused_dimension():
    q, k, v, fused = Space(8), Space(8), Space(8), Space(24)
    unify(compose('sum', [q, k, v]), fused)
    parts = factor([fused], [3, 2, 4])
    assert [part.size for part in parts] == [3, 2, 4]
    assert q.find() is k.find() is v.find() and sizes(q) == [2, 4]


def test_fixing_reaches_every_part_and_what_it_is_unified_with():
    fused, other = Space(6), Space(6)
    factor([fused], [2, 3])
    unify(fused, other)
    other.fix('position')
    assert fused.is_fixed and {leaf.fixed for leaf in fused.leaves()} == {'position'}
