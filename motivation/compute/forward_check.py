"""Check of the MACs of a forward pass: fvcore and dispatch must agree."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.utils._pytree import tree_map

from motivation.compute.forward_macs import ForwardMacs, count_forward
from motivation.compute.isolation import light_copy
from motivation.compute.step_macs import dispatch_forward
from motivation.errors import ConfigError
from motivation.utils.batches import Inputs, first_sample

TOLERANCE = 1e-3  # relative difference allowed between the counts


def check_forward(network: nn.Module, inputs: Inputs) -> None:
    """Check that fvcore and dispatch count equally many MACs of a forward pass.

    Args:
        network: The network, which does not change.
        inputs: Its input, or its inputs by name, of which only the first sample is used.

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
    """Return a message that names the innermost module whose counts differ."""
    differing = [
        name for name, _ in network.named_modules() if traced.by_module.get(name, 0) != dispatched.get(name, 0)
    ]
    innermost = max(differing, key=lambda name: name.count('.') + bool(name), default='')
    module = network.get_submodule(innermost)
    return (
        f'the forward MACs of {type(network).__name__} are {traced.total:,} by fvcore and {dispatched[""]:,} by '
        f'dispatch; they differ in {innermost or "the network"!r} ({type(module).__name__}: '
        f'{traced.by_module.get(innermost, 0):,} and {dispatched.get(innermost, 0):,}): either an operator '
        'there is counted wrongly by one of them (give its formula with motivation.compute.register_formula), or the '
        'compute of the module depends on the values of its inputs, which cannot be counted in advance'
    )
