"""Losses and weights that are NaN or infinite."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from motivation.structures import MODEL_NAMES, ModelName
from motivation.utils.distributed import sum_over_processes

# How often something is tried before training gives up.
MAX_SKIPPED_IN_A_ROW = 10
MAX_ROLLBACKS = 5


class NonFiniteError(ArithmeticError):
    """A loss, or the weights of a model, are NaN or infinite.

    Args:
        model: The model.
        loss: Its loss, on which no step was taken; ``None`` if a step has made its weights non-finite.
    """

    def __init__(self, model: ModelName, loss: float | None) -> None:
        super().__init__(model, loss)
        self.model = model
        self.loss = loss


def check_weights(model: Any) -> None:
    """Refuse non-finite weights, so that they are neither evaluated nor saved; all processes must ask.

    Args:
        model: The two models, as :class:`~motivation.models.DualModel` holds them.

    Raises:
        NonFiniteError: A parameter is NaN or infinite, as after a non-finite gradient of a finite loss.
    """
    for name in MODEL_NAMES:
        part: nn.Module = getattr(model, name)
        finite = [parameter.isfinite().all() for parameter in part.parameters()]
        if sum_over_processes(not torch.stack(finite).all().item()):
            raise NonFiniteError(name, None)


def describe(bad: NonFiniteError, place: str, rate: float, losses: Iterable[float]) -> str:
    """Say what was non-finite, where, and what training was like before.

    Args:
        bad: What was found.
        place: The batch.
        rate: Learning rate of the model's first parameter group.
        losses: The last finite losses.
    """
    what = (
        f'the loss of the {bad.model} model is {bad.loss} at'
        if bad.loss is not None
        else f'weights of the {bad.model} model are NaN or infinite after a step on a gradient that was, by'
    )
    before = ', '.join(f'{loss:.4g}' for loss in losses) or 'none'
    return f'{what} {place}, learning rate {rate:.4g}, last good losses {before}'


def ways_out(bad: NonFiniteError) -> str:
    """Say what a run can do that stops at the first non-finite number."""
    remedies = "'rollback'" if bad.loss is None else "'skip' or 'rollback'"
    return (
        'nothing was saved after it: lower optim_wrapper.optimizer.lr or clip the gradient '
        f'(optim_wrapper.clip_grad), or go on with train_cfg.on_bad_loss={remedies}'
    )
