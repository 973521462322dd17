"""What a tensor operator does to the spaces of its operands: the table of rules, and what holds without one.

A rule gets the call and returns the spaces of each output tensor. Operators are those that PyTorch
dispatches (``aten``); an elementwise operator needs no rule of its own. What passes through an operator
without a rule must not grow.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from motivation.weight_maps.tracing.spaces import Space, SpaceError, unify

Spaces = tuple[Space, ...]


@dataclass
class Call:
    """One operator call while a network runs.

    Attributes:
        args: Positional arguments, tensors among them.
        kwargs: Keyword arguments.
        spaces: Looks up the spaces of a tensor.
        outputs: Output tensors.
        reduced: Filled by rules: spaces over which the operator takes statistics, so that its result
            changes when they grow.
    """

    args: Sequence[Any]
    kwargs: dict[str, Any]
    spaces: Callable[[Tensor], Spaces]
    outputs: list[Tensor]
    reduced: list[Space] = field(default_factory=list)

    def of(self, position: int) -> Spaces:
        """Spaces of a positional tensor argument."""
        return self.spaces(self.args[position])

    def arg(self, position: int, name: str, default: Any = None) -> Any:
        """An argument that may be given by position or by name."""
        return self.args[position] if position < len(self.args) else self.kwargs.get(name, default)


Rule = Callable[[Call], list[Spaces]]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register the rule of operators, by their names within ``aten``."""

    def register(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return register


def positions(sizes: Sequence[int]) -> Spaces:
    """Dimensions that must agree in both models."""
    return tuple(Space(size, 'position') for size in sizes)


def elementwise(call: Call) -> list[Spaces]:
    """Operands broadcast against each other; dimensions that meet are the same space."""
    operands = [call.spaces(arg) for arg in [*call.args, *call.kwargs.values()] if isinstance(arg, Tensor)]
    result: list[Space] = []
    for offset in range(1, call.outputs[0].ndim + 1):
        meeting = [spaces[-offset] for spaces in operands if len(spaces) >= offset]
        wide = [space for space in meeting if space.size > 1] or meeting
        for space in wide[1:]:
            unify(wide[0], space)
        result.insert(0, wide[0])
    return [tuple(result)] * len(call.outputs)


RULES |= {'hardswish': elementwise, '_prelu_kernel': elementwise}  # PyTorch does not tag them


def apply(operator: Any, call: Call) -> list[Spaces]:
    """Spaces of the outputs of one operator.

    Where nothing is known about an operator, or its operands are arranged in a way that no rule
    follows, all its dimensions are fixed: it is the same operator in both models if none of them grows.

    Args:
        operator: The overload that PyTorch dispatched.
        call: The call.
    """
    name = operator.overloadpacket.__name__
    out_of_place = getattr(torch.ops.aten, name.rstrip('_'), operator.overloadpacket)
    is_elementwise = any(
        torch.Tag.pointwise in getattr(packet, packet.overloads()[0]).tags
        for packet in (operator.overloadpacket, out_of_place)
    )
    rule = RULES.get(name) or RULES.get(name.rstrip('_')) or (elementwise if is_elementwise else None)
    reason = f'operator {name!r}'
    try:
        if rule is not None:
            return rule(call)
    except SpaceError as error:
        reason = f'{reason}: {error}'
    for arg in flat([*call.args, *call.kwargs.values()]):
        if isinstance(arg, Tensor):
            for space in call.spaces(arg):
                space.fix(reason)
    return [positions(output.shape) for output in call.outputs]


def flat(values: Sequence[Any]) -> Iterator[Any]:
    """The values, those in lists and tuples among them."""
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from flat(value)
        else:
            yield value
