"""Correspondence of the modules of two networks, by name and by position in a stage."""

from collections.abc import Iterator
from typing import Literal, NoReturn

from torch import Tensor, nn

from motivation.errors import ConfigError
from motivation.structures import ModelName

Placement = Literal['leading', 'spread']


def place_blocks(base_blocks: int, motivated_blocks: int, placement: Placement) -> list[int]:
    """Return the block of a motivated stage that is the image of each base block.

    Args:
        base_blocks: Blocks of the stage in the base model.
        motivated_blocks: Blocks of the stage in the motivated model, at least as many.
        placement: ``'leading'`` maps block j to block j; ``'spread'`` maps it to block
            floor(j * motivated / base), so that added blocks are spread evenly. Both map the first block, which
            may have a stride, to the first.

    Returns:
        An increasing list with one index for each base block.
    """
    if placement == 'leading':
        return list(range(base_blocks))
    return [block * motivated_blocks // base_blocks for block in range(base_blocks)]


def pair_modules(base: nn.Module, motivated: nn.Module, placement: Placement) -> Iterator[tuple[str, str]]:
    """Yield the names of corresponding modules of two networks, starting with the networks themselves (``''``).

    Children correspond by name, or by :func:`place_blocks` where a stage has more children in the motivated model.
    A stage is a ``nn.Sequential`` or ``nn.ModuleList``, or a module with numbered children (``b1``, ``b2``, ...).
    Modules without parameters and buffers are skipped.

    Raises:
        ConfigError: A module or tensor of one network has no counterpart in the other.
    """
    yield from _pair(base, motivated, placement, '', '')


def _pair(
    base: nn.Module, motivated: nn.Module, placement: Placement, base_name: str, motivated_name: str
) -> Iterator[tuple[str, str]]:
    own, theirs = own_tensors(base), own_tensors(motivated)
    prefix = f'{base_name}.' if base_name else ''
    for name in sorted(own.keys() ^ theirs.keys()):
        _refuse(prefix + name, 'base' if name in own else 'motivated', base, motivated)
    if own and _kind(base) != _kind(motivated):
        _refuse(prefix + next(iter(own)), 'base', base, motivated)
    yield base_name, motivated_name
    for child, image in _pair_children(base, motivated, placement, prefix):
        yield from _pair(
            base.get_submodule(child),
            motivated.get_submodule(image),
            placement,
            prefix + child,
            f'{motivated_name}.{image}' if motivated_name else image,
        )


def _pair_children(base: nn.Module, motivated: nn.Module, placement: Placement, prefix: str) -> list[tuple[str, str]]:
    """Return the names of the base module's children and of their images in the motivated module."""
    base_names, motivated_names = (
        [name for name, child in module._modules.items() if child is not None and child.state_dict()]
        for module in (base, motivated)
    )
    if not _is_stage(base, [*base_names, *motivated_names]) or len(base_names) == len(motivated_names):
        for name in sorted(set(base_names) ^ set(motivated_names)):
            owner: ModelName = 'base' if name in base_names else 'motivated'
            child = (base if owner == 'base' else motivated).get_submodule(name)
            _refuse(f'{prefix}{name}.{next(iter(child.state_dict()))}', owner, base, motivated)
        return [(name, name) for name in base_names]
    if len(base_names) > len(motivated_names):
        raise ConfigError(
            f'the base model does not fit: its stage {prefix[:-1]!r} has {len(base_names)} blocks and the motivated '
            f"model's has {len(motivated_names)}; name the deeper network as model.motivated"
        )
    images = place_blocks(len(base_names), len(motivated_names), placement)
    return [(name, motivated_names[image]) for name, image in zip(base_names, images, strict=True)]


def _kind(module: nn.Module) -> tuple[str, str]:
    """Return a module's class by name, because every parametrized module has a class object of its own."""
    return type(module).__module__, type(module).__qualname__


def _is_stage(module: nn.Module, children: list[str]) -> bool:
    numbered = len({child.rstrip('0123456789') for child in children}) == 1
    return isinstance(module, (nn.Sequential, nn.ModuleList)) or (numbered and children[0][-1].isdigit())


def own_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and persistent buffers of a module without those of its children."""
    return {name: tensor for name, tensor in module.state_dict(keep_vars=True).items() if '.' not in name}


def _refuse(tensor: str, owner: ModelName, base: nn.Module, motivated: nn.Module) -> NoReturn:
    other = 'motivated' if owner == 'base' else 'base'
    raise ConfigError(
        f'the base model does not fit: {tensor!r} of the {owner} model has no counterpart in the {other} model '
        f'({type(base).__name__} in the base, {type(motivated).__name__} in the motivated model); '
        'a base model fits into a larger network of the same blocks, such as cifar_resnet8 into cifar_resnet20'
    )
