"""Non-finite losses and weights: the error, the check and its messages."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from motivation.errors import TrainingError
from motivation.structures import MODEL_NAMES, ModelName
from motivation.utils.checkpoint import find_checkpoints
from motivation.utils.distributed import sum_over_processes

# Numbers of skipped batches and rollbacks after which training stops.
MAX_SKIPPED_IN_A_ROW = 10
MAX_ROLLBACKS = 5

# Number of overflows in fp16 in a row; the scale of the loss is then 2 ** -8, and the gradients themselves overflow.
MAX_OVERFLOWS_IN_A_ROW = 24


class NonFiniteError(ArithmeticError):
    """An error about a non-finite loss or non-finite weights.

    Args:
        model: The model.
        loss: The non-finite loss, on which no step was taken; ``None`` if the weights are non-finite.
    """

    def __init__(self, model: ModelName, loss: float | None) -> None:
        super().__init__(model, loss)
        self.model = model
        self.loss = loss


def check_weights(model: Any) -> None:
    """Check that all weights are finite, before they are evaluated or saved; all processes must call it.

    Args:
        model: The :class:`~motivation.models.DualModel`.

    Raises:
        NonFiniteError: A parameter is NaN or infinite, as after a non-finite gradient of a finite loss.
    """
    for name in MODEL_NAMES:
        part: nn.Module = getattr(model, name)
        finite = [parameter.isfinite().all() for parameter in part.parameters()]
        if sum_over_processes(not torch.stack(finite).all().item()):
            raise NonFiniteError(name, None)


def describe(bad: NonFiniteError, place: str, rate: float, losses: Iterable[float]) -> str:
    """Return a description of a non-finite loss or weight, as text.

    Args:
        bad: The error.
        place: Name of the batch.
        rate: Learning rate of the model's first parameter group.
        losses: The last finite losses.
    """
    what = (
        f'the loss of the {bad.model} model is {bad.loss} at'
        if bad.loss is not None
        else f'weights of the {bad.model} model are NaN or infinite, after a step with a non-finite gradient, by'
    )
    before = ', '.join(f'{loss:.4g}' for loss in losses) or 'none'
    return f'{what} {place}, learning rate {rate:.4g}, last good losses {before}'


def newest_saved(work_dir: Path) -> str:
    """Return a clause with the path of the newest checkpoint of a run that stops."""
    saved = find_checkpoints(work_dir)
    return f"the newest checkpoint is '{saved[-1]}'" if saved else 'no checkpoint was saved before'


def ways_out(bad: NonFiniteError, work_dir: Path) -> str:
    """Return the advice for a run that stops at a non-finite loss or weight, as text."""
    remedies = "'rollback'" if bad.loss is None else "'skip' or 'rollback'"
    return (
        f'{newest_saved(work_dir)}: lower optim_wrapper.optimizer.lr or clip the gradient '
        f'(optim_wrapper.clip_grad), or go on with train_cfg.on_bad_loss={remedies}'
    )


def too_many_skipped(problem: str, times: int, folder: Path) -> TrainingError:
    """Return the error about one skipped batch too many, ``times`` in a row."""
    return TrainingError(
        f'{problem}, for the {times}th batch in a row: the weights will not recover; '
        f"{newest_saved(folder)}: continue from it with train_cfg.on_bad_loss='rollback'"
    )


def too_many_overflows(place: str, times: int) -> TrainingError:
    """Return the error about gradients that overflow in ``times`` batches in a row, at any scale of the loss."""
    return TrainingError(
        f'{place}, as in the {times - 1} batches before, at any scale of the loss: lower optim_wrapper.optimizer.lr, or write '
        "model.precision='bf16'"
    )
