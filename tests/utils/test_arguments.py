"""Checks of arguments against types and bounds, and their messages."""

import copy
import inspect
import math
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import pytest
import torch
from annotated_types import Ge

from motivation.errors import ArgumentError
from motivation.policies import ConsecutiveDrop
from motivation.utils.arguments import Count, Momentum, arguments_of, check_arguments, checked, problem_of


@pytest.mark.parametrize(
    ('annotation', 'right', 'wrong'),
    [
        (int, [0, -1, 10**30], [True, 1.0, '1', None]),
        (float, [1, 0.5, 10**30], [True, math.nan, math.inf, 10**400, '0.1']),
        (bool, [True], [1, 'yes', None]),
        (str, [''], [b'x', 3, {}]),
        (Optional[int], [None, 1], ['x']),  # noqa: UP045, as third parties write it
        (tuple[float, float], [[1, 2.5], (1, 2)], [3, ['a'], 'ab']),
        (Sequence[int], [(1, 2), [1]], ['ab', ['a'], 3, {}]),
        (Sequence[tuple[int, int | None]], [[[1, 2], (3, None)]], [3]),
        (dict[str, int], [{}, {'a': 'b'}], [[], 'x']),
        (Literal['abs', 'rel'], ['abs'], ['ab', 3, {}, [1]]),
        (Count | None, [1, None], [0, True, 1.5]),
        (Momentum, [0, 0.9], [1, -0.1, '0']),
        (Sequence[Count], [[1], ()], [(0,), 1]),
        (Path, ['a', Path('a')], [3, [], None]),
        (Callable[..., Any], [len, 'name', {'type': 'x'}], [3, None]),
        (torch.Tensor, [torch.zeros(1), {'type': 'x'}], ['a', 1, [1]]),
        (Any, [1, 'a', None], []),
        (inspect.Parameter.empty, [1, 'a', None], []),
        ('NoSuchName', [1, 'a'], []),
    ],
)
def test_valid_and_invalid_values_of_an_annotation(annotation, right, wrong):
    argument = inspect.Parameter('value', inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
    assert [value for value in right if problem_of(value, argument)] == []
    assert [value for value in wrong if not problem_of(value, argument)] == []


class Example:
    @checked
    def __init__(
        self,
        drops: Count = 2,
        share: Annotated[float, Ge(0)] | None = None,
        mode: Literal['abs', 'rel'] = 'abs',
        topk: Sequence[Count] = (1,),
        **kwargs: Any,
    ) -> None:
        """Store two arguments."""
        self.drops, self.kwargs = drops, kwargs


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (dict(drops=0), 'drops must be at least 1, got 0'),
        (dict(drops='2'), "drops must be a whole number, got '2'"),
        (dict(share=-1), 'share must be at least 0 or None, got -1'),
        (dict(share='x'), "share must be a finite number or None, got 'x'"),
        (dict(mode='foo'), "mode must be 'abs' or 'rel', got 'foo'"),
        (dict(mode='ab'), "mode must be 'abs' or 'rel', got 'ab'; did you mean 'abs'?"),
        (dict(topk=(0,)), 'topk must be a list, each at least 1, got (0,)'),
    ],
)
def test_invalid_argument_is_named_with_what_it_must_be(arguments, sentence):
    for refuse in (lambda: Example(**arguments), lambda: check_arguments(Example, arguments)):
        with pytest.raises(ArgumentError) as caught:
            refuse()
        assert str(caught.value) == sentence


def test_checked_constructor_is_otherwise_unchanged():
    assert list(inspect.signature(Example).parameters) == ['drops', 'share', 'mode', 'topk', 'kwargs']
    assert list(arguments_of(Example)[0]) == ['drops', 'share', 'mode', 'topk'] and arguments_of(Example)[1]
    assert Example(3).drops == 3 and Example(other='x').kwargs == {'other': 'x'}
    assert Example.__init__.__doc__ == 'Store two arguments.'
    with pytest.raises(TypeError, match='unexpected keyword argument'):
        ConsecutiveDrop(drop=1)
    policy = ConsecutiveDrop(drops=3)
    assert repr(pickle.loads(pickle.dumps(policy))) == repr(copy.deepcopy(policy)) == 'ConsecutiveDrop(drops=3)'


def test_self_may_have_any_name_in_a_constructor():
    class Plugin:
        def __init__(this, size: int, *, depth: int = 1):  # noqa: N805
            pass

    assert list(arguments_of(Plugin)[0]) == ['size', 'depth']
