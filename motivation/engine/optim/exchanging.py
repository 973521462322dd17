"""Optimizer wrappers for mixed precision and micro-batches that step on finite losses only."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn.utils import clip_grad_norm_, clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from motivation.engine.optim.non_finite import NonFiniteError
from motivation.engine.optim.step import StepExchange
from motivation.errors import ConfigError
from motivation.structures import MODEL_NAMES, ModelName
from motivation.utils.arguments import Count, checked
from motivation.utils.precision import Precision, autocast


class ExchangingOptimWrapper:
    """Mixin that reduces and checks the loss over all processes before an optimizer wrapper steps.

    After the backward pass is queued and before the optimizer steps, the loss is reduced over all processes and read
    (:class:`~motivation.engine.optim.step.StepExchange`). If it is non-finite, the gradients are dropped and no step is
    taken. In-place distillation steps the base model on the same batch through its own wrapper, with the same check.

    The gradients of a batch may be those of several micro-batches, each in a :meth:`micro_batch`; the loss is then their
    mean over all samples. In precision ``'fp16'`` losses are multiplied by a scale, so that small gradients are not
    rounded to zero, and gradients divided by it; a step whose gradients are not finite is not taken, and halves the
    scale (Micikevicius et al., "Mixed Precision Training", arXiv 1710.03740, section 3.2).

    The mixin is added to the class that the config names. That class may override ``update_params``, ``backward`` and
    ``step``, but must step through ``self.step`` and must not scale losses.

    Attributes:
        accumulate: Number of micro-batches of a batch.
        scaler: The scale of the loss; ``None`` unless precision is ``'fp16'``.
        overflowed: Whether the last step was not taken because its gradients overflow.
    """

    # Attributes of the class that this is mixed into.
    optimizer: Optimizer
    clip_grad_kwargs: dict[str, Any] | None
    clip_func: Callable[..., Any]
    zero_grad: Callable[[], None]

    exchange: StepExchange
    accumulate = 1
    scaler: GradScaler | None = None
    overflowed = False
    _name: ModelName
    _precision: Precision = 'fp32'
    _clips_by_read_norm = False
    # The loss of the current step, and the norm to clip its gradients by: on the device, and as read.
    _loss: Tensor | None = None
    _clip_norm: Tensor | None = None
    _read_clip_norm = 0.0
    # Share of the batch in the current micro-batch, whether it is the last, and the number of passes since the last step.
    _share, _is_last, _passes = 1.0, True, 0

    @checked
    def connect(
        self, name: ModelName, exchange: StepExchange, precision: Precision = 'fp32', accumulate: Count = 1
    ) -> None:
        """Connect the wrapper to an exchange.

        Args:
            name: The model whose parameters the wrapper optimizes.
            exchange: The exchange, common to both models.
            precision: Precision of the forward pass. Default: ``'fp32'``.
            accumulate: Number of micro-batches of a batch, at least 1. Default: 1.

        Raises:
            ConfigError: ``accumulate`` is below 1.
        """
        self._name, self.exchange, self._precision, self.accumulate = name, exchange, precision, accumulate
        if precision == 'fp16':
            self.scaler = GradScaler(self.optimizer.param_groups[0]['params'][0].device.type)
        # MMEngine logs the norm that it clips by; reading it in the exchange saves a wait for the device.
        plain = (self.clip_grad_kwargs or {}).keys() <= {'max_norm', 'norm_type', 'foreach'}
        if self.clip_grad_kwargs and self.clip_func is clip_grad_norm_ and plain:
            self.clip_func, self._clips_by_read_norm = self._clip, True

    def clip_by(self, function: Callable[..., None], options: dict[str, float]) -> None:
        """Clip gradients by a function of the parameters and these options, before each step."""
        self.clip_func, self.clip_grad_kwargs = function, options

    @contextmanager
    def micro_batch(self, share: float, is_last: bool) -> Iterator[None]:
        """Add the gradients of a micro-batch within the context, and step only on the last of a batch.

        Args:
            share: Its share of the samples of the batch, from 0 to 1.
            is_last: Whether it is the last of the batch.
        """
        self._share, self._is_last = share, is_last
        try:
            yield
        finally:
            self._share, self._is_last = 1.0, True

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run a forward pass in mixed precision, and average gradients over processes on the last micro-batch only."""
        with super().optim_context(model), autocast(self._precision, model):  # type: ignore[misc]
            yield

    def should_sync(self) -> bool:
        """Whether the next backward pass averages gradients over processes."""
        return self._is_last

    def should_update(self) -> bool:
        """Whether the last backward pass was that of the last micro-batch."""
        return self._is_last

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Return the loss of a micro-batch multiplied by its share of the batch."""
        return loss if self._share == 1 else loss * self._share

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Run the backward pass of a loss, scaled if precision is ``'fp16'``."""
        scaled = loss if self.scaler is None else self.scaler.scale(loss)
        super().backward(scaled, **kwargs)  # type: ignore[misc]

    def update_params(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Run the backward pass of a loss, and step unless further micro-batches follow.

        Args:
            loss: The loss, a scalar.
            *args: See :class:`mmengine.optim.OptimWrapper`.
            **kwargs: See :class:`mmengine.optim.OptimWrapper`.

        Raises:
            NonFiniteError: The loss of this or another process is NaN or infinite.
        """
        part = self.scale_loss(loss.detach())
        self._loss = part if self._loss is None else self._loss + part
        self._passes += 1
        super().update_params(loss, *args, **kwargs)  # type: ignore[misc]
        if self._is_last:
            self._loss, self._passes = None, 0  # a user-defined class may choose not to step

    def step(self, **kwargs: Any) -> None:
        """Clip the gradients and step, unless they overflow; raise :class:`NonFiniteError` if the loss is non-finite."""
        self.overflowed = False
        if self._loss is not None:
            loss, self._loss = self._loss, None
            if self.scaler is not None:
                self.scaler.unscale_(self.optimizer)
            reading = self.exchange.read(self._name, loss, self._measure_gradients(), self._passes)
            self._read_clip_norm = reading.own.get('clip_norm', 0.0)
            self.overflowed = reading.mean.get('overflows', 0) > 0
            bad = not math.isfinite(reading.mean['loss'])
            if self.scaler is not None:
                self.scaler.update(self.scaler.get_scale() if bad else None)  # a bad loss does not change the scale
            if bad:
                self.zero_grad()
                self._passes = 0
                raise NonFiniteError(self._name, reading.mean['loss'])
        if not self.overflowed:
            super().step(**kwargs)  # type: ignore[misc]

    def _measure_gradients(self) -> dict[str, Tensor]:
        """Return the gradient norms before clipping, the policy's and the one to clip by, and whether they overflow."""
        gradients = [
            parameter.grad
            for group in self.optimizer.param_groups
            for parameter in group['params']
            if parameter.grad is not None
        ]
        norms = {}
        if self.exchange.needs_grad_norm:
            norms['grad_norm'] = get_total_norm(gradients)
        if self._clips_by_read_norm:
            options = {name: value for name, value in (self.clip_grad_kwargs or {}).items() if name != 'max_norm'}
            self._clip_norm = norms['clip_norm'] = get_total_norm(gradients, **options)
        if self.scaler is not None:
            norm = norms['grad_norm'] if 'grad_norm' in norms else get_total_norm(gradients)
            norms['overflows'] = 1 - norm.isfinite().float()
        return norms

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the optimizer and of the loss scaler."""
        state = super().state_dict()  # type: ignore[misc]
        return state if self.scaler is None else {**state, 'loss_scaler': self.scaler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state that :meth:`state_dict` returned; without that of a scaler, the scale is the initial one."""
        scaler = state_dict.get('loss_scaler')
        super().load_state_dict({name: state_dict[name] for name in state_dict if name != 'loss_scaler'})  # type: ignore[misc]
        if self.scaler is not None and scaler is not None:
            self.scaler.load_state_dict(scaler)

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
