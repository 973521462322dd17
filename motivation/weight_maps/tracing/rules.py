"""The table of rules: how an operator transforms the spaces of its operands.

A rule takes a call and returns the spaces of each output tensor. Operators are those that PyTorch dispatches
(``aten``); elementwise operators share one rule. Operators without a rule fix all dimensions of their operands.
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
        reduced: Filled by rules: spaces over which the operator takes statistics.
    """

    args: Sequence[Any]
    kwargs: dict[str, Any]
    spaces: Callable[[Tensor], Spaces]
    outputs: list[Tensor]
    reduced: list[Space] = field(default_factory=list)

    def of(self, position: int) -> Spaces:
        """Return the spaces of a positional tensor argument."""
        return self.spaces(self.args[position])

    def arg(self, position: int, name: str, default: Any = None) -> Any:
        """Return an argument given by position or by name."""
        return self.args[position] if position < len(self.args) else self.kwargs.get(name, default)


Rule = Callable[[Call], list[Spaces]]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for operators, by their names in ``aten``."""

    def register(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return register


def positions(sizes: Sequence[int]) -> Spaces:
    """Return new spaces of given sizes, which must be equal in both models."""
    return tuple(Space(size, 'position') for size in sizes)


def elementwise(call: Call) -> list[Spaces]:
    """Unify the dimensions that operands broadcast against each other."""
    operands = [call.spaces(arg) for arg in [*call.args, *call.kwargs.values()] if isinstance(arg, Tensor)]
    result: list[Space] = []
    for offset in range(1, call.outputs[0].ndim + 1):
        meeting = [spaces[-offset] for spaces in operands if len(spaces) >= offset]
        wide = [space for space in meeting if space.size > 1] or meeting
        for space in wide[1:]:
            unify(wide[0], space)
        result.insert(0, wide[0])
    return [tuple(result)] * len(call.outputs)


RULES |= {'hardswish': elementwise, '_prelu_kernel': elementwise}  # not tagged by PyTorch


def apply(operator: Any, call: Call) -> list[Spaces]:
    """Apply the rule of an operator and return the spaces of its outputs.

    Without a rule, or if the rule does not apply to the operands, all dimensions are fixed: the operator then
    computes the same in both models because none of them grows.

    Args:
        operator: The operator overload that PyTorch dispatched.
        call: Its call.
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
    """Yield values, including those in nested lists and tuples."""
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from flat(value)
        else:
            yield value
