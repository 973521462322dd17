"""Blocks that the motivated model adds, and where their residual branches end."""

from collections.abc import Iterator

from motivation.weight_maps.tracing import Step, Trace
from motivation.weight_maps.weight_map import WeightMap


def added_blocks(weight_map: WeightMap) -> Iterator[str]:
    """Modules of the motivated model without any image, in a module that has some."""
    images = {pair.motivated for pair in weight_map.pairs}
    holders: set[str] = set()
    for name in images:
        parts = name.split('.')[:-1]
        holders |= {'.'.join(parts[:length]) for length in range(len(parts) + 1)}
    for name, module in weight_map.model('motivated').named_modules():
        if name not in holders and name.rpartition('.')[0] in holders and module.state_dict():
            yield name


def residual_ends(block: str, run: Trace) -> set[str]:
    """Parameters and buffers that end the residual branches of a block, each the last scale or projection.

    With all of them zero the block passes on its input.

    Args:
        block: Name of the block.
        run: A run of the network.

    Returns:
        Their names; empty if nothing leads around the block.
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
    """Parameters that make a branch zero if they are, or ``None`` for the path around the branches."""
    shifts: set[str] = set()
    while _within(step.module, block) and id(step) not in sums:
        if step.parameters and step.name.rstrip('_') != 'add':
            return shifts | step.parameters
        shifts |= step.parameters
        step = next(made for made in step.inputs if not made.is_constant)
    return None
