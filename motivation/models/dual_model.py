"""The base model, the motivated model that contains it, and which of the two is being trained."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapperDict
from torch import Tensor

from motivation.errors import ConfigError
from motivation.registry import MODELS, WEIGHT_MAPS
from motivation.weight_maps import ModelName, WeightMap

MODEL_NAMES: tuple[ModelName, ...] = get_args(ModelName)


@MODELS.register_module()
class DualModel(BaseModel):
    """Two models of one family joined by a weight map, of which one trains at a time.

    ::

        active = base
        for batch:
            loss = active.train_step(batch)    # the other does not run, step or decay
            activate() or deactivate(), as the policy says: transfer, then the other is active

    Args:
        base: Config of the base model, a :class:`~mmengine.model.BaseModel` such as
            :class:`TimmClassifier`.
        motivated: Config of the motivated model.
        weight_map: Config of the map; it is built with the two modules as ``base`` and ``motivated``.
        statistics: Running statistics of normalisation layers: ``'private'`` to each model, or
            ``'shared'`` through the map (the paper's letter; each model then spoils the other's).

    Raises:
        ConfigError: ``statistics`` is neither, or the base model does not fit.
    """

    def __init__(
        self,
        base: dict[str, Any],
        motivated: dict[str, Any],
        weight_map: dict[str, Any],
        statistics: Literal['private', 'shared'] = 'private',
    ) -> None:
        super().__init__()
        if statistics not in ('private', 'shared'):
            raise ConfigError(f"model.statistics is {statistics!r}; it must be 'private' or 'shared'")
        self.base: BaseModel = MODELS.build(base)
        self.motivated: BaseModel = MODELS.build(motivated)
        self.weight_map: WeightMap = WEIGHT_MAPS.build(
            weight_map, default_args={'base': self.base, 'motivated': self.motivated}
        )
        self.statistics = statistics
        self._active: ModelName = 'base'

    @property
    def active(self) -> ModelName:
        """The model being trained: ``'base'`` or ``'motivated'``."""
        return self._active

    def activate(self) -> None:
        """Begin a motivated spell: transfer base -> motivated; nothing if it is active already."""
        if self._active == 'base':
            self.transfer()
            self._active = 'motivated'

    def deactivate(self) -> None:
        """End a motivated spell: transfer motivated -> base; nothing if the base is active already."""
        if self._active == 'motivated':
            self.transfer()
            self._active = 'base'

    def transfer(self) -> None:
        """Make both models current: copy the mapped tensors of the active model into the other.

        The next switch would overwrite the same tensors, so training goes on as if this had not
        happened; validation, export and checkpoints call it first.
        """
        self.weight_map.transfer(self._active, statistics=self.statistics == 'shared')

    def train_step(self, data: Any, optim_wrapper: OptimWrapperDict) -> dict[str, Any]:
        """Train the active model on one batch with its own optimizer wrapper.

        Args:
            data: A batch, as the active model's own ``train_step`` takes it.
            optim_wrapper: One optimizer wrapper each under ``'base'`` and ``'motivated'``.

        Returns:
            What the active model logs, ``'loss'`` among it, and ``'motivated'``: 1.0 if the
            motivated model made the step, 0.0 if the base model did.
        """
        log_vars = getattr(self, self._active).train_step(data, optim_wrapper[self._active])
        return {**log_vars, 'motivated': float(self._active == 'motivated')}

    def val_step(self, data: Any, models: Sequence[ModelName] = MODEL_NAMES) -> dict[ModelName, Any]:
        """Predictions for one batch; call :meth:`transfer` before the first.

        Args:
            data: A batch, as each model's own ``val_step`` takes it.
            models: The models that predict.

        Returns:
            What each model's own ``val_step`` returns, by model.
        """
        return {name: getattr(self, name).val_step(data) for name in models}

    test_step = val_step

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the active model's ``forward``."""
        return getattr(self, self._active)(*args, **kwargs)

    def get_extra_state(self) -> Tensor:
        """Which model is active, as part of the state dict; a tensor, so that it loads as plain data."""
        return torch.tensor(self._active == 'motivated')

    def set_extra_state(self, state: Tensor) -> None:
        """Restore which model is active."""
        self._active = 'motivated' if bool(state) else 'base'
