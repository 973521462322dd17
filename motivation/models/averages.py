"""The averaged weights of both models."""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Lt
from mmengine.model import BaseModel
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from motivation.errors import ConfigError, reason
from motivation.structures import MODEL_NAMES, averaged_name
from motivation.utils.arguments import checked
from motivation.weight_maps import WeightMap


class Averages:
    """Averages the weights of both models over the optimizer steps, with timm's :class:`~timm.utils.ModelEmaV3`.

    An update changes the average of every floating-point tensor of both state dicts, running statistics of
    normalisation layers included, to ``decay * average + (1 - decay) * current``. The first update, and those up to
    ``update_after_step``, copy the current tensors, so the initial weights never count. Integer buffers are those of
    the models. What both models share is averaged once, in the base model, and copied along the weight map when the
    averages are looked at.

    Args:
        weight_map: The correspondence of the two models' tensors, and with it the models.
        decay: Share of the average that an update keeps, at least 0 and below 1. Default: 0.999.
        update_after_step: Number of first updates that copy the weights. Default: 0.
        use_warmup: Whether the decay grows up to ``decay``: in update t it is at most
            ``1 - (1 + (t - 1 - update_after_step) / warmup_gamma) ** -warmup_power`` (K. Crowson, in timm), so that
            the average of a short run is not of its beginning. Default: ``True``.
        warmup_gamma: Number of updates that scales the warmup, above 0. Default: 1.
        warmup_power: Exponent of the warmup, above 0; 1 averages all updates equally. Default: 2/3.

    Attributes:
        steps: Number of updates.
        decay: Share of the average that an update keeps, after the warmup.

    Raises:
        ConfigError: An argument is invalid, or weights have less than single precision, in which an update is lost;
            when the averages are first needed, if a model cannot be copied.

    Example:
        >>> averages = Averages(AutoMap(base, motivated), decay=0.999)
        >>> averages.update()  # after every optimizer step
        >>> averages.models['base/ema'](images)
    """

    @checked
    def __init__(
        self,
        weight_map: WeightMap,
        decay: Annotated[float, Ge(0), Lt(1)] = 0.999,
        update_after_step: Annotated[int, Ge(0)] = 0,
        use_warmup: bool = True,
        warmup_gamma: Annotated[float, Gt(0)] = 1.0,
        warmup_power: Annotated[float, Gt(0)] = 2 / 3,
    ) -> None:
        for name in MODEL_NAMES:
            for value in weight_map.tensors(name).values():
                if value.is_floating_point() and value.dtype.itemsize < 4:
                    raise ConfigError(
                        f'ema averages weights of float32 or float64, and those of model.{name} are {value.dtype}, too coarse '
                        'to hold an average; leave ema out, or keep the weights in float32'
                    )
        self.steps = 0
        self.decay = decay
        self._current = _Tensors(weight_map)
        self._options = {
            'decay': decay,
            'update_after_step': update_after_step,
            'use_warmup': use_warmup,
            'warmup_gamma': warmup_gamma,
            'warmup_power': warmup_power,
        }

    @cached_property
    def _ema(self) -> ModelEmaV3:
        """The averages, made when first needed: on the device and in the memory format that the models then have."""
        try:
            return ModelEmaV3(self._current, **self._options)
        except Exception as error:  # a model's own __deepcopy__ may raise any exception
            raise ConfigError(
                f'ema needs copies of both models, and copy.deepcopy fails: {reason(error)}; correct it, or leave ema out'
            ) from error

    @property
    def models(self) -> dict[str, BaseModel]:
        """The averaged models, in evaluation mode, as ``'base/ema'`` and ``'motivated/ema'``.

        Before the first update they have the current weights.
        """
        if self.steps == 0:
            self._ema.set(self._current)
        self._ema.module.complete(self._current)
        return {averaged_name(name): getattr(self._ema.module, name) for name in MODEL_NAMES}

    def update(self) -> None:
        """Add the current weights of both models to their averages.

        The base model must have the current weights, and the motivated model those that the base model lacks.
        """
        self.steps += 1
        self._ema.update(self._current, step=self.steps)

    def restart(self) -> None:
        """Begin anew: the next update copies the current weights."""
        self.steps = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the number of updates, and the state dict of each averaged model by model name."""
        models = self.models
        return {'steps': self.steps, **{name: models[averaged_name(name)].state_dict() for name in MODEL_NAMES}}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned."""
        for name in MODEL_NAMES:
            getattr(self._ema.module, name).load_state_dict(state_dict[name])
        self.steps = state_dict['steps']


class _Tensors(nn.Module):
    """Both models as the one module that timm copies and averages.

    Its ``state_dict`` has what has to be averaged, each tensor once, and is made without walking through all modules,
    which would take several times as long as the averaging itself.
    """

    def __init__(self, weight_map: WeightMap) -> None:
        super().__init__()
        self.base = weight_map.model('base')
        self.motivated = weight_map.model('motivated')
        self._weight_map = weight_map
        # By whether they are floating-point: where the tensors are. A tensor may be replaced under its name.
        self._places: dict[bool, list[tuple[dict[str, Any], str]]] = {}

    def state_dict(self) -> dict[int, Tensor]:  # type: ignore[override]
        """Return the floating-point tensors by number, without those of the motivated model that are images whole."""
        return dict(enumerate(self._tensors(floating=True)))

    @torch.no_grad()
    def complete(self, current: '_Tensors') -> None:
        """Copy the integers of the models that are averaged here, and what the base model shares to the motivated model."""
        for own, other in zip(self._tensors(floating=False), current._tensors(floating=False), strict=True):
            own.copy_(other)
        self._weight_map.transfer('base')

    def _tensors(self, floating: bool) -> list[Tensor]:
        if not self._places:
            self._places = self._find()
        return [tensors[name] for tensors, name in self._places[floating]]

    def _find(self) -> dict[bool, list[tuple[dict[str, Any], str]]]:
        motivated = self._weight_map.tensors('motivated')
        # What is not averaged here, and what has been found: a tied tensor would be averaged twice.
        known = {
            id(motivated[pair.motivated])
            for pair in self._weight_map.pairs
            if not pair.is_statistic and all(positions is None for positions in pair.index)
        }
        found: dict[bool, list[tuple[dict[str, Any], str]]] = {True: [], False: []}
        for module in self.modules():
            for tensors in (module._parameters, module._buffers):
                for name, tensor in tensors.items():
                    if tensor is None or name in module._non_persistent_buffers_set or id(tensor) in known:
                        continue
                    known.add(id(tensor))
                    found[tensor.is_floating_point()].append((tensors, name))
        return found
