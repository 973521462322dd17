"""Blocks that only the motivated model has, and the ends of their residual branches."""

from collections.abc import Iterator

from motivation.weight_maps.tracing import Step, Trace
from motivation.weight_maps.weight_map import WeightMap


def added_blocks(weight_map: WeightMap) -> Iterator[str]:
    """Yield the names of the outermost modules of the motivated model that have tensors but no image of a base tensor."""
    images = {pair.motivated for pair in weight_map.pairs}
    holders: set[str] = set()
    for name in images:
        parts = name.split('.')[:-1]
        holders |= {'.'.join(parts[:length]) for length in range(len(parts) + 1)}
    for name, module in weight_map.model('motivated').named_modules():
        if name not in holders and name.rpartition('.')[0] in holders and module.state_dict():
            yield name


def residual_ends(block: str, run: Trace) -> set[str]:
    """Return the names of the last scale or projection, with its shift, of each residual branch of a block.

    If all of them are zero, the block returns its input.

    Args:
        block: Name of the block.
        run: A trace of the network.

    Returns:
        Names of parameters and buffers; empty if the block has no residual path.
    """
    ends: set[str] = set()
    sums: set[int] = set()
    for step in run.steps:
        if step.name.rstrip('_') != 'add' or not _within(step.module, block):
            continue
        operands = [operand for operand in step.inputs if not operand.is_constant]
        branches = [_last_scale(operand, block, sums) for operand in operands]
        if len(operands) == 2 and sum(branch is None for branch in branches) == 1:
            ends |= next(branch for branch in branches if branch is not None)
            sums.add(id(step))
    return ends


def _within(module: str, block: str) -> bool:
    return module == block or module.startswith(f'{block}.')


def _last_scale(step: Step, block: str, sums: set[int]) -> set[str] | None:
    """Return the names of the parameters that make a branch zero if they are, or ``None`` for the residual path."""
    shifts: set[str] = set()
    while _within(step.module, block) and id(step) not in sums:
        if step.parameters and step.name.rstrip('_') != 'add':
            return shifts | step.parameters
        shifts |= step.parameters
        step = next(made for made in step.inputs if not made.is_constant)
    return None
