"""Optimizer wrappers that step on finite losses only, and tell what they read of a batch."""

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
    """What an optimizer wrapper of MMEngine's or the user's own does more in a run: agree before it steps.

    Between the backward pass, which has been queued, and the optimizer's step it has the loss reduced over
    all processes and read (:class:`~motivation.engine.step.StepExchange`). If it is non-finite, gradients
    are dropped and nothing steps. In-place distillation steps the base model on the same batch through
    the wrapper of the base, which checks its loss in the same way.

    It is mixed into the class that the config names. Such a class may override ``update_params``,
    ``backward`` and ``step``; it must step through ``self.step``. If it scales losses, as MMEngine's
    ``AmpOptimWrapper`` does, its scaler is ``self.loss_scaler`` with a method ``scale(tensor)``.
    """

    # Those of the class it is mixed into.
    optimizer: Optimizer
    clip_grad_kwargs: dict[str, Any] | None
    clip_func: Callable[..., Any]
    zero_grad: Callable[[], None]

    exchange: StepExchange
    _name: ModelName
    _clips_by_read_norm = False
    # The loss being stepped on, and the norm by which to clip its gradients: on the device, and as it was read.
    _loss: Tensor | None = None
    _clip_norm: Tensor | None = None
    _read_clip_norm = 0.0

    def connect(self, name: ModelName, exchange: StepExchange) -> None:
        """Take part in an exchange.

        Args:
            name: The model whose parameters these are.
            exchange: Common to both models.
        """
        self._name, self.exchange = name, exchange
        # MMEngine reads the norm by which it clips, to log it; so that this is no read of its own, it is in the
        # exchange. A scaler unscales gradients only after that, and waits for the device anyway.
        plain = (self.clip_grad_kwargs or {}).keys() <= {'max_norm', 'norm_type', 'foreach'}
        if self.clip_grad_kwargs and self.clip_func is clip_grad_norm_ and plain and not hasattr(self, 'loss_scaler'):
            self.clip_func, self._clips_by_read_norm = self._clip, True

    def update_params(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Step on a loss.

        Args:
            loss: A scalar.
            *args: As of :class:`mmengine.optim.OptimWrapper`.
            **kwargs: As of :class:`mmengine.optim.OptimWrapper`.

        Raises:
            NonFiniteError: The loss, or that of another process, is NaN or infinite.
        """
        self._loss = loss.detach()
        super().update_params(loss, *args, **kwargs)  # type: ignore[misc]
        self._loss = None  # a class of the user's own may choose not to step

    def step(self, **kwargs: Any) -> None:
        """Clip the gradients and step, if the loss is finite."""
        if self._loss is not None:
            loss, self._loss = self._loss, None
            reading = self.exchange.read(self._name, loss, self._measure_gradients())
            self._read_clip_norm = reading.own.get('clip_norm', 0.0)
            if not math.isfinite(reading.mean['loss']):
                self.zero_grad()
                raise NonFiniteError(self._name, reading.mean['loss'])
        super().step(**kwargs)  # type: ignore[misc]

    def _measure_gradients(self) -> dict[str, Tensor]:
        """Norms before clipping: for the policy, if it asks, and the one to clip by."""
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
        """The norm that gradients will have when they are unscaled; infinite where their scaler will skip the step."""
        if not hasattr(self, 'loss_scaler'):
            return norm
        norm = norm / self.loss_scaler.scale(torch.ones_like(norm))
        return torch.where(norm.isfinite(), norm, math.inf)

    def _clip(
        self, parameters: list[Tensor], max_norm: float, norm_type: float = 2.0, foreach: bool | None = None
    ) -> Any:
        """Clip gradients by the norm that has been measured, as :func:`torch.nn.utils.clip_grad_norm_` does.

        Returns:
            The norm; a number, not a tensor, where it has been read.
        """
        norm, self._clip_norm = self._clip_norm, None
        if norm is None:  # a step that was not made through update_params
            return clip_grad_norm_(parameters, max_norm, norm_type, foreach=foreach)
        clip_grads_with_norm_(parameters, max_norm, norm, foreach)
        return self._read_clip_norm


@cache
def exchanging(cls: type[OptimWrapper]) -> type[OptimWrapper]:
    """The class of optimizer wrappers that also take part in the exchange.

    Args:
        cls: MMEngine's or the user's own; the name stays.
    """
    if issubclass(cls, ExchangingOptimWrapper):
        return cls
    return type(cls.__name__, (ExchangingOptimWrapper, cls), {'__module__': cls.__module__, '__doc__': cls.__doc__})


def exchange_of(optim_wrapper: Any) -> StepExchange:
    """Return the exchange of two optimizer wrappers.

    Args:
        optim_wrapper: Both wrappers.

    Raises:
        ConfigError: A constructor of the user's own has built a wrapper that takes part in none.
    """
    for name in MODEL_NAMES:
        if not isinstance(optim_wrapper[name], ExchangingOptimWrapper):
            raise ConfigError(
                f'optim_wrapper.constructor builds an optimizer wrapper {type(optim_wrapper[name]).__name__} for '
                f"model.{name}, which would step on a non-finite loss: derive it from 'DualOptimWrapperConstructor', or, "
                "under 'base' and 'motivated', build the class that it is given as 'type'"
            )
    return optim_wrapper['base'].exchange
