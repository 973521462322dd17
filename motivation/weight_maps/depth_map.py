"""A weight map for networks of equal width that differ in the number of blocks per stage."""

from collections.abc import Iterator

from torch import nn

from motivation.errors import ConfigError
from motivation.registry import WEIGHT_MAPS
from motivation.utils.arguments import checked
from motivation.weight_maps.blocks import Placement, own_tensors, pair_modules
from motivation.weight_maps.weight_map import WeightMap


@WEIGHT_MAPS.register_module()
class DepthMap(WeightMap):
    """Maps same-named tensors of equal shape; stages of the motivated model may have more blocks.

    Stages are those of :func:`~motivation.weight_maps.blocks.pair_modules`; blocks never leave their stage.

    Args:
        base: The base model.
        motivated: The motivated model.
        placement: Where the base blocks of a stage sit in the motivated stage, see
            :func:`~motivation.weight_maps.blocks.place_blocks`. Default: ``'leading'``.

    Raises:
        ConfigError: The base model does not fit; the message names the first tensor that does not, and the way out.

    Example:
        >>> weight_map = dict(type='DepthMap', placement='spread')
    """

    @checked
    def __init__(self, base: nn.Module, motivated: nn.Module, placement: Placement = 'leading') -> None:
        self.placement = placement
        super().__init__(base, motivated, _pair_tensors(base, motivated, placement))

    def __repr__(self) -> str:
        return f'DepthMap(placement={self.placement!r})'


def _pair_tensors(base: nn.Module, motivated: nn.Module, placement: Placement) -> Iterator[tuple[str, str]]:
    for base_name, motivated_name in pair_modules(base, motivated, placement):
        theirs = own_tensors(motivated.get_submodule(motivated_name))
        for key, tensor in own_tensors(base.get_submodule(base_name)).items():
            name = f'{base_name}.{key}' if base_name else key
            if tensor.shape != theirs[key].shape:
                raise ConfigError(
                    f'the base model does not fit: {name!r} is {tuple(tensor.shape)} in the base and '
                    f'{tuple(theirs[key].shape)} in the motivated model; DepthMap maps networks of equal width, such '
                    'as cifar_resnet8 in cifar_resnet20, and AutoMap those of greater width too'
                )
            yield name, f'{motivated_name}.{key}' if motivated_name else key
