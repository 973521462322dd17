"""Networks of one width that differ in the number of blocks a stage."""

from collections.abc import Iterator
from typing import Literal, NoReturn

from torch import Tensor, nn

from motivation.errors import ConfigError
from motivation.registry import WEIGHT_MAPS
from motivation.weight_maps.weight_map import ModelName, WeightMap

Placement = Literal['leading', 'spread']


def place_blocks(base_blocks: int, motivated_blocks: int, placement: Placement) -> list[int]:
    """Which block of a motivated stage is the image of each base block.

    Args:
        base_blocks: Blocks of the stage in the base model.
        motivated_blocks: Blocks of the stage in the motivated model, at least as many.
        placement: ``'leading'`` puts block j in block j; ``'spread'`` puts it in block
            floor(j * motivated / base), so that added blocks follow the base blocks evenly. Either
            way the first block, the one that strides, is the image of the first.

    Returns:
        One index for each base block, increasing.
    """
    if placement == 'leading':
        return list(range(base_blocks))
    return [block * motivated_blocks // base_blocks for block in range(base_blocks)]


@WEIGHT_MAPS.register_module()
class DepthMap(WeightMap):
    """Maps same-named tensors of equal shape; stages of the motivated model may have more blocks.

    A stage is any ``nn.Sequential`` or ``nn.ModuleList`` that stands in both models under the same
    name with different numbers of children; blocks never leave their stage.

    Args:
        base: The base model.
        motivated: The motivated model.
        placement: Where the base blocks of a stage sit in the motivated stage, see
            :func:`place_blocks`.

    Raises:
        ConfigError: The base model does not fit; the message names the first tensor that does not
            and says what would.

    Example:
        >>> weight_map = dict(type='DepthMap', placement='spread')
    """

    def __init__(self, base: nn.Module, motivated: nn.Module, placement: Placement = 'leading') -> None:
        if placement not in ('leading', 'spread'):
            raise ConfigError(f"weight_map.placement is {placement!r}; it must be 'leading' or 'spread'")
        self.placement = placement
        super().__init__(base, motivated, _pair_modules(base, motivated, placement, '', ''))

    def __repr__(self) -> str:
        return f'DepthMap(placement={self.placement!r})'


def _pair_modules(
    base: nn.Module, motivated: nn.Module, placement: Placement, base_prefix: str, motivated_prefix: str
) -> Iterator[tuple[str, str]]:
    """Yield the names of corresponding tensors of two modules and of all below them."""
    for name in _paired_tensors(base, motivated, base_prefix):
        yield base_prefix + name, motivated_prefix + name
    for base_name, motivated_name in _paired_children(base, motivated, placement, base_prefix).items():
        yield from _pair_modules(
            base.get_submodule(base_name),
            motivated.get_submodule(motivated_name),
            placement,
            f'{base_prefix}{base_name}.',
            f'{motivated_prefix}{motivated_name}.',
        )


def _paired_tensors(base: nn.Module, motivated: nn.Module, prefix: str) -> list[str]:
    """Names of the tensors that two corresponding modules hold themselves, checked against each other."""
    base_tensors, motivated_tensors = _own_tensors(base), _own_tensors(motivated)
    for name in sorted(base_tensors.keys() ^ motivated_tensors.keys()):
        _refuse(f'{prefix}{name}', 'base' if name in base_tensors else 'motivated', base, motivated)
    for name, tensor in base_tensors.items():
        shapes = tuple(tensor.shape), tuple(motivated_tensors[name].shape)
        if shapes[0] != shapes[1]:
            raise ConfigError(
                f'the base model does not fit: {prefix + name!r} is {shapes[0]} in the base and {shapes[1]} in the '
                'motivated model; DepthMap maps networks of equal width, such as cifar_resnet8 in cifar_resnet20'
            )
    if base_tensors and type(base) is not type(motivated):
        _refuse(f'{prefix}{next(iter(base_tensors))}', 'base', base, motivated)
    return list(base_tensors)


def _paired_children(base: nn.Module, motivated: nn.Module, placement: Placement, prefix: str) -> dict[str, str]:
    """Child of the base module to child of the motivated module, by name; parts without tensors left out."""
    base_names, motivated_names = (
        [name for name, child in module.named_children() if child.state_dict()] for module in (base, motivated)
    )
    if not isinstance(base, (nn.Sequential, nn.ModuleList)) or len(base_names) == len(motivated_names):
        for name in sorted(set(base_names) ^ set(motivated_names)):
            owner: ModelName = 'base' if name in base_names else 'motivated'
            child = (base if owner == 'base' else motivated).get_submodule(name)
            _refuse(f'{prefix}{name}.{next(iter(child.state_dict()))}', owner, base, motivated)
        return {name: name for name in base_names}
    if len(base_names) > len(motivated_names):
        raise ConfigError(
            f'the base model does not fit: its stage {prefix[:-1]!r} has {len(base_names)} blocks and the motivated '
            f"model's has {len(motivated_names)}; name the deeper network as model.motivated"
        )
    images = place_blocks(len(base_names), len(motivated_names), placement)
    return {name: motivated_names[image] for name, image in zip(base_names, images, strict=True)}


def _own_tensors(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in module.state_dict(keep_vars=True).items() if '.' not in name}


def _refuse(tensor: str, owner: ModelName, base: nn.Module, motivated: nn.Module) -> NoReturn:
    other = 'motivated' if owner == 'base' else 'base'
    raise ConfigError(
        f'the base model does not fit: {tensor!r} of the {owner} model has no counterpart in the {other} model '
        f'({type(base).__name__} in the base, {type(motivated).__name__} in the motivated model); DepthMap maps '
        'networks built of the same blocks, such as cifar_resnet8 in cifar_resnet20'
    )
