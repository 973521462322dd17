"""Optimizer wrappers that step on finite losses only, and share their readings with the training loop."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from motivation.engine.non_finite import NonFiniteError
from motivation.engine.step import StepExchange
from motivation.errors import ConfigError
from motivation.structures import MODEL_NAMES, ModelName


class ExchangingOptimWrapper:
    """Mixin that reduces and checks the loss over all processes before an optimizer wrapper steps.

    After the backward pass is queued and before the optimizer steps, the loss is reduced over all processes and read
    (:class:`~motivation.engine.step.StepExchange`). If it is non-finite, the gradients are dropped and no step is
    taken. In-place distillation steps the base model on the same batch through its own wrapper, with the same check.

    The mixin is added to the class that the config names. That class may override ``update_params``, ``backward`` and
    ``step``, but must step through ``self.step``. If it scales losses, as MMEngine's ``AmpOptimWrapper`` does, its
    scaler must be ``self.loss_scaler``, with a method ``scale(tensor)``.
    """

    # Attributes of the class that this is mixed into.
    optimizer: Optimizer
    clip_grad_kwargs: dict[str, Any] | None
    clip_func: Callable[..., Any]
    zero_grad: Callable[[], None]

    exchange: StepExchange
    _name: ModelName
    _clips_by_read_norm = False
    # The loss of the current step, and the norm to clip its gradients by: on the device, and as read.
    _loss: Tensor | None = None
    _clip_norm: Tensor | None = None
    _read_clip_norm = 0.0

    def connect(self, name: ModelName, exchange: StepExchange) -> None:
        """Connect the wrapper to an exchange.

        Args:
            name: The model whose parameters the wrapper optimizes.
            exchange: The exchange, common to both models.
        """
        self._name, self.exchange = name, exchange
        # MMEngine logs the norm that it clips by; reading it in the exchange saves a wait for the device. A loss
        # scaler unscales gradients only after that, and waits for the device anyway.
        plain = (self.clip_grad_kwargs or {}).keys() <= {'max_norm', 'norm_type', 'foreach'}
        if self.clip_grad_kwargs and self.clip_func is clip_grad_norm_ and plain and not hasattr(self, 'loss_scaler'):
            self.clip_func, self._clips_by_read_norm = self._clip, True

    def update_params(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Run the backward pass of a loss and step.

        Args:
            loss: The loss, a scalar.
            *args: See :class:`mmengine.optim.OptimWrapper`.
            **kwargs: See :class:`mmengine.optim.OptimWrapper`.

        Raises:
            NonFiniteError: The loss of this or another process is NaN or infinite.
        """
        self._loss = loss.detach()
        super().update_params(loss, *args, **kwargs)  # type: ignore[misc]
        self._loss = None  # a user-defined class may choose not to step

    def step(self, **kwargs: Any) -> None:
        """Clip the gradients and step, or raise :class:`NonFiniteError` if the loss is non-finite."""
        if self._loss is not None:
            loss, self._loss = self._loss, None
            reading = self.exchange.read(self._name, loss, self._measure_gradients())
            self._read_clip_norm = reading.own.get('clip_norm', 0.0)
            if not math.isfinite(reading.mean['loss']):
                self.zero_grad()
                raise NonFiniteError(self._name, reading.mean['loss'])
        super().step(**kwargs)  # type: ignore[misc]

    def _measure_gradients(self) -> dict[str, Tensor]:
        """Return the gradient norms before clipping: the policy's, if it asks, and the one to clip by."""
        gradients = [
            parameter.grad
            for group in self.optimizer.param_groups
            for parameter in group['params']
            if parameter.grad is not None
        ]
        norms = {}
        if self.exchange.needs_grad_norm:
            norms['grad_norm'] = self._unscaled(get_total_norm(gradients))
        if self._clips_by_read_norm:
            options = {name: value for name, value in (self.clip_grad_kwargs or {}).items() if name != 'max_norm'}
            self._clip_norm = norms['clip_norm'] = get_total_norm(gradients, **options)
        return norms

    def _unscaled(self, norm: Tensor) -> Tensor:
        """Return the norm of the unscaled gradients; infinite if the loss scaler will skip the step."""
        if not hasattr(self, 'loss_scaler'):
            return norm
        norm = norm / self.loss_scaler.scale(torch.ones_like(norm))
        return torch.where(norm.isfinite(), norm, math.inf)

    def _clip(
        self, parameters: list[Tensor], max_norm: float, norm_type: float = 2.0, foreach: bool | None = None
    ) -> Any:
        """Clip gradients by the measured norm, as :func:`torch.nn.utils.clip_grad_norm_` does.

        Returns:
            The norm, as a number if it has been read, else as a tensor.
        """
        norm, self._clip_norm = self._clip_norm, None
        if norm is None:  # step was not called by update_params
            return clip_grad_norm_(parameters, max_norm, norm_type, foreach=foreach)
        clip_grads_with_norm_(parameters, max_norm, norm, foreach)
        return self._read_clip_norm


@cache
def exchanging(cls: type[OptimWrapper]) -> type[OptimWrapper]:
    """Return an optimizer wrapper class with :class:`ExchangingOptimWrapper` mixed in, under the same name."""
    if issubclass(cls, ExchangingOptimWrapper):
        return cls
    return type(cls.__name__, (ExchangingOptimWrapper, cls), {'__module__': cls.__module__, '__doc__': cls.__doc__})


def exchange_of(optim_wrapper: Any) -> StepExchange:
    """Return the exchange of the optimizer wrappers of both models.

    Args:
        optim_wrapper: The wrappers, by model name.

    Raises:
        ConfigError: A user-defined constructor has built a wrapper without an exchange.
    """
    for name in MODEL_NAMES:
        if not isinstance(optim_wrapper[name], ExchangingOptimWrapper):
            raise ConfigError(
                f'optim_wrapper.constructor builds an optimizer wrapper {type(optim_wrapper[name]).__name__} for '
                f"model.{name}, which would step on a non-finite loss: derive it from 'DualOptimWrapperConstructor', or, "
                "under 'base' and 'motivated', build the class that it is given as 'type'"
            )
    return optim_wrapper['base'].exchange
