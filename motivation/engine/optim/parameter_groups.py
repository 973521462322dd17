"""Parameter-wise options that hold for both models: layer-wise learning-rate decay, and no decay on norms and biases."""

from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Annotated, Any, NamedTuple

from annotated_types import Gt, Le
from torch import nn
from torch.optim import Optimizer

from motivation.errors import ArgumentError
from motivation.structures import MODEL_NAMES, ModelName
from motivation.utils.arguments import Share, checked
from motivation.weight_maps import WeightMap
from motivation.weight_maps.layers import layer_scales


class Setting(NamedTuple):
    """What the optimizer does with a parameter.

    Attributes:
        scale: Factor of its learning rate.
        decays: Whether it has weight decay.
    """

    scale: float = 1.0
    decays: bool = True


class ParameterGroups:
    """Decides learning rate and weight decay of every parameter of both models.

    A shared parameter has those of its image in the motivated model, so that both models train it alike.

    Args:
        layer_decay: Factor of the learning rate from each layer of the motivated model to the one before it, above 0
            and at most 1, see :func:`~motivation.weight_maps.layers.layer_scales`. ``None`` (default) for one rate.
        layer_decay_min_scale: The least product of these factors. Default: 0.
        weight_decay_exclude_1d: Whether parameters of one dimension (norms, biases, layer scales) and those that the
            network names in ``no_weight_decay()`` (position embeddings, class tokens) have no weight decay, as in
            timm. Default: ``False``.

    Raises:
        ArgumentError: An argument is invalid.
    """

    @checked
    def __init__(
        self,
        layer_decay: Annotated[float, Gt(0), Le(1)] | None = None,
        layer_decay_min_scale: Share = 0.0,
        weight_decay_exclude_1d: bool = False,
    ) -> None:
        self.layer_decay = layer_decay
        self.least = layer_decay_min_scale
        self.excludes = weight_decay_exclude_1d

    def settings(self, weight_map: WeightMap) -> dict[ModelName, dict[str, Setting]]:
        """Return the setting of each parameter of both models, by its name.

        Raises:
            ConfigError: See :func:`~motivation.weight_maps.layers.layer_scales`.
        """
        model = weight_map.model('motivated')
        parameters = dict(model.named_parameters(remove_duplicate=False))
        scales = dict.fromkeys(parameters, 1.0)
        if self.layer_decay is not None:
            scales = layer_scales(weight_map, self.layer_decay, self.least)['motivated']
        without = _without_decay(model) if self.excludes else set()
        settings = {name: Setting(scales[name], name not in without) for name in parameters}
        images = {pair.base: settings[pair.motivated] for pair in weight_map.pairs if pair.motivated in settings}
        return {'base': images, 'motivated': settings}

    def apply(self, weight_map: WeightMap, optimizers: Mapping[ModelName, Optimizer]) -> None:
        """Regroup the parameters of both optimizers, before their first step.

        Raises:
            ArgumentError: The optimizer has no learning rate of its own.
            ConfigError: See :meth:`settings`.
        """
        if self.layer_decay is None and not self.excludes:
            return
        settings = self.settings(weight_map)
        for name in MODEL_NAMES:
            _regroup(optimizers[name], weight_map.model(name), settings[name])


def _without_decay(model: nn.Module) -> set[str]:
    """Return the names of the parameters that timm excludes from weight decay."""
    found = set()
    networks: dict[str, Any] = {'': model, 'backbone.': getattr(model, 'backbone', None)}
    for prefix, network in networks.items():
        listed = network.no_weight_decay() if hasattr(network, 'no_weight_decay') else ()
        found |= {
            name
            for name, _ in model.named_parameters(remove_duplicate=False)
            if any(fnmatch(name.removeprefix(prefix), pattern) for pattern in listed)
        }
    flat = {
        name
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if parameter.ndim <= 1 or name.endswith('.bias')
    }
    return found | flat


def _regroup(optimizer: Optimizer, model: nn.Module, settings: Mapping[str, Setting]) -> None:
    """Give each parameter its setting, with one group for all that have the same options.

    Groups go from the highest to the lowest learning rate, because loggers show that of the first.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups: dict[str, dict[str, Any]] = {}
    for group in optimizer.param_groups:
        options = {option: value for option, value in group.items() if option not in ('params', 'param_names')}
        if options['lr'] is None:
            raise ArgumentError('optimizer.lr', 'is missing, and parameter-wise options need it; give one')
        for parameter in group['params']:
            name = names[id(parameter)]
            own = {**options, 'lr': options['lr'] * settings[name].scale}
            if not settings[name].decays:
                own['weight_decay'] = 0.0
            same = groups.setdefault(repr(sorted(own.items())), {**own, 'params': [], 'param_names': []})
            same['params'].append(parameter)
            same['param_names'].append(name)
    optimizer.param_groups[:] = sorted(groups.values(), key=lambda group: -group['lr'])
