"""What the logits of a batch say beyond its loss: the accuracy, and the loss of each sample."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from mmengine.runner import Runner
from torch import Tensor, nn

from motivation.engine.optim.exchanging import exchange_of
from motivation.errors import ConfigError
from motivation.structures import MODEL_NAMES, ModelName


class WatchedLogits:
    """The logits and targets that the ``loss`` module of each model receives in the first step on a batch.

    Args:
        runner: The run.
        signal: Name of the signal that needs them, for messages.

    Attributes:
        losses: The module ``loss`` of each model.

    Raises:
        ConfigError: A model has no module ``loss``.
    """

    def __init__(self, runner: Runner, signal: str) -> None:
        self._exchange = exchange_of(runner.optim_wrapper)
        self._parts: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in MODEL_NAMES}  # of each micro-batch
        self.losses: dict[str, nn.Module] = {}
        for name in MODEL_NAMES:
            loss = getattr(getattr(runner.model, name), 'loss', None)
            if not isinstance(loss, nn.Module):
                raise ConfigError(
                    f"motivation.policy asks for {signal!r}, which needs model.{name} to have a module 'loss' that is "
                    'called with logits and targets; add it, or choose another policy'
                )
            self.losses[name] = loss
            loss.register_forward_pre_hook(self._watch(self._parts[name]))

    def _watch(self, parts: list[tuple[Tensor, Tensor]]) -> Callable[[nn.Module, Any], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, Tensor]) -> None:
            if torch.is_grad_enabled() and self._exchange.awaits_first_step:
                parts.append((inputs[0].detach(), inputs[1]))

        return hook

    def take(self, model: ModelName) -> tuple[Tensor, Tensor]:
        """Return the logits (N, K) and targets of the batch, and forget them."""
        logits, targets = map(torch.cat, zip(*self._parts[model], strict=True))
        self._parts[model].clear()
        return logits, targets


def watch_accuracy(runner: Runner) -> Callable[[ModelName], dict[str, Tensor]]:
    """Return a function of the fraction of a batch that a model has classified correctly, ``'accuracy'``.

    With several labels it is the fraction of all answers, of which an image has one for each class.
    """
    watched = WatchedLogits(runner, 'accuracy')
    several = getattr(runner.model.base, 'outputs', 'softmax') == 'sigmoid'

    def measure(model: ModelName) -> dict[str, Tensor]:
        logits, targets = watched.take(model)
        if several:
            return {'accuracy': ((logits > 0) == (targets > 0.5)).float().mean()}  # of mixed targets, the larger one
        classes = targets if targets.ndim == 1 else targets.argmax(dim=1)
        return {'accuracy': (logits.argmax(dim=1) == classes).float().mean()}

    return measure


def watch_sample_losses(runner: Runner, signal: str) -> Callable[[ModelName], Tensor]:
    """Return a function of the loss of each sample in a batch, (N,), whose mean is the batch's loss.

    Args:
        runner: The run.
        signal: Name of the signal that needs them, for messages.

    Raises:
        ConfigError: A model has no module ``loss``, or mixes samples, whose losses then depend on each other.
    """
    for name in MODEL_NAMES:
        if getattr(getattr(runner.model, name).data_preprocessor, 'mixup', None) is not None:
            raise ConfigError(
                f'motivation.policy asks for {signal!r}, and model.{name}.mixup trains on mixtures of two images, whose loss '
                'depends on the other image and on how much of it there is; leave mixup out, or choose another policy'
            )
    watched = WatchedLogits(runner, signal)

    @torch.no_grad()
    def measure(model: ModelName) -> Tensor:
        return unreduced(watched.losses[model], *watched.take(model))

    return measure


def unreduced(loss: nn.Module, logits: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of each sample, (N,), of a loss that is a mean over samples.

    Args:
        loss: The loss. One with ``of_each`` is asked for it, one of torch's not to reduce; any other is called with each
            sample by itself.
        logits: (N, K), or (N, K, ...) with a loss for each of several places.
        targets: (N, ...).
    """
    if callable(of_each := getattr(loss, 'of_each', None)):
        return of_each(logits, targets)
    if getattr(loss, 'reduction', None) == 'mean':
        unreducing: Any = copy.copy(loss)
        unreducing.reduction = 'none'  # twenty times as fast
        losses: Tensor = unreducing(logits, targets)
        return losses.flatten(1).mean(1) if losses.ndim > 1 else losses
    return torch.func.vmap(lambda sample, target: loss(sample[None], target[None]))(logits, targets)
