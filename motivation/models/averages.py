"""The averaged weights of both models."""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Lt
from mmengine.model import BaseModel
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from motivation.errors import ConfigError
from motivation.structures import MODEL_NAMES, averaged_name
from motivation.utils.arguments import checked


class Averages:
    """Averages the weights of both models over the optimizer steps, with timm's :class:`~timm.utils.ModelEmaV3`.

    An update changes the average of every floating-point tensor of both state dicts, running statistics of
    normalisation layers included, to ``decay * average + (1 - decay) * current``. The first update, and those up to
    ``update_after_step``, copy the current tensors, so the initial weights never count. Integer buffers are copied.

    Args:
        base: The base model.
        motivated: The motivated model.
        decay: Share of the average that an update keeps, at least 0 and below 1. Default: 0.999.
        update_after_step: Number of first updates that copy the weights. Default: 0.
        use_warmup: Whether the decay grows up to ``decay``: in update t it is at most
            ``1 - (1 + (t - 1 - update_after_step) / warmup_gamma) ** -warmup_power`` (K. Crowson, in timm), so that
            the average of a short run is not of its beginning. Default: ``True``.
        warmup_gamma: Number of updates that scales the warmup, above 0. Default: 1.
        warmup_power: Exponent of the warmup, above 0; 1 averages all updates equally. Default: 2/3.

    Attributes:
        steps: Number of updates.

    Raises:
        ConfigError: An argument is invalid, or weights have less than single precision, in which an update is lost.

    Example:
        >>> averages = Averages(base, motivated, decay=0.999)
        >>> averages.update()  # after every optimizer step
        >>> averages.models['base/ema'](images)
    """

    @checked
    def __init__(
        self,
        base: BaseModel,
        motivated: BaseModel,
        decay: Annotated[float, Ge(0), Lt(1)] = 0.999,
        update_after_step: Annotated[int, Ge(0)] = 0,
        use_warmup: bool = True,
        warmup_gamma: Annotated[float, Gt(0)] = 1.0,
        warmup_power: Annotated[float, Gt(0)] = 2 / 3,
    ) -> None:
        for name, model in zip(MODEL_NAMES, (base, motivated), strict=True):
            for value in model.state_dict().values():
                if isinstance(value, Tensor) and value.is_floating_point() and value.dtype.itemsize < 4:
                    raise ConfigError(
                        f'ema averages weights of float32 or float64, and those of model.{name} are {value.dtype}, too coarse '
                        'to hold an average; leave ema out, or keep the weights in float32'
                    )
        self.steps = 0
        self._current = _Tensors(base, motivated)
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
        return ModelEmaV3(self._current, **self._options)

    @property
    def models(self) -> dict[str, BaseModel]:
        """The averaged models, in evaluation mode, as ``'base/ema'`` and ``'motivated/ema'``.

        Before the first update they have the current weights.
        """
        if self.steps == 0:
            self._ema.set(self._current)
            self._copy_integers()
        return {averaged_name(name): getattr(self._ema.module, name) for name in MODEL_NAMES}

    def update(self) -> None:
        """Add the current weights of both models to their averages."""
        self.steps += 1
        self._ema.update(self._current, step=self.steps)
        self._copy_integers()

    @torch.no_grad()
    def _copy_integers(self) -> None:
        if self._current.integers():
            torch._foreach_copy_(self._ema.module.integers(), self._current.integers())

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

    Its ``state_dict`` has the floating-point tensors alone, each once, and is made without walking through all
    modules, which would take several times as long as the averaging itself.
    """

    def __init__(self, base: BaseModel, motivated: BaseModel) -> None:
        super().__init__()
        self.base = base
        self.motivated = motivated
        # By whether they are floating-point: where the tensors are. A tensor may be replaced under its name.
        self._places: dict[bool, list[tuple[dict[str, Any], str]]] = {}

    def state_dict(self) -> dict[int, Tensor]:  # type: ignore[override]
        """Return the floating-point tensors, by number."""
        return dict(enumerate(self._tensors(floating=True)))

    def integers(self) -> list[Tensor]:
        """Return the other tensors."""
        return self._tensors(floating=False)

    def _tensors(self, floating: bool) -> list[Tensor]:
        if not self._places:
            self._places = self._find()
        return [tensors[name] for tensors, name in self._places[floating]]

    def _find(self) -> dict[bool, list[tuple[dict[str, Any], str]]]:
        found: dict[bool, list[tuple[dict[str, Any], str]]] = {True: [], False: []}
        seen: set[int] = set()  # tied tensors would be averaged twice
        for module in self.modules():
            for tensors in (module._parameters, module._buffers):
                for name, tensor in tensors.items():
                    if tensor is None or name in module._non_persistent_buffers_set or id(tensor) in seen:
                        continue
                    seen.add(id(tensor))
                    found[tensor.is_floating_point()].append((tensors, name))
        return found
