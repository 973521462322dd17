"""A forward pass counted twice, by fvcore and by dispatch, and compared."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.utils._pytree import tree_map

from motivation.compute.forward_macs import ForwardMacs, count_forward
from motivation.compute.isolation import light_copy
from motivation.compute.step_macs import dispatch_forward
from motivation.errors import ConfigError
from motivation.utils.batches import Inputs, first_sample

# Share by which the two counts may differ.
TOLERANCE = 1e-3


def check_forward(network: nn.Module, inputs: Inputs) -> None:
    """Count a forward pass by fvcore and by dispatch, which must agree.

    Args:
        network: Left untouched.
        inputs: Its input, or its inputs by name, of which the first sample serves.

    Raises:
        ConfigError: The counts differ by more than 0.1 %, or an operator has no formula.
    """
    light = light_copy(network)
    sample = first_sample(inputs if isinstance(inputs, Mapping) else {'inputs': inputs})
    sample = tree_map(lambda value: value.cpu() if isinstance(value, Tensor) else value, sample)
    traced, dispatched = count_forward(network, sample), dispatch_forward(light, sample)
    if abs(traced.total - dispatched.forward) > TOLERANCE * max(traced.total, dispatched.forward):
        dispatched = dispatch_forward(light, sample, by_module=True)
        by_module = {name: forward for name, (forward, _) in dispatched.modules.items()}
        raise ConfigError(_describe_difference(light, traced, by_module))


def _describe_difference(network: nn.Module, traced: ForwardMacs, dispatched: dict[str, int]) -> str:
    """Name the innermost module at which the counts part."""
    differing = [
        name for name, _ in network.named_modules() if traced.by_module.get(name, 0) != dispatched.get(name, 0)
    ]
    innermost = max(differing, key=lambda name: name.count('.') + bool(name), default='')
    module = network.get_submodule(innermost)
    return (
        f'the forward MACs of {type(network).__name__} are {traced.total:,} by fvcore and {dispatched[""]:,} by '
        f'dispatch; they part in {innermost or "the whole"!r} ({type(module).__name__}: '
        f'{traced.by_module.get(innermost, 0):,} and {dispatched.get(innermost, 0):,}): either an operator '
        'there is counted wrongly by one of them (give its formula with motivation.compute.register_formula), or what the '
        'module computes depends on the values it is given, which cannot be priced beforehand'
    )
