"""Types that several parts share: the names of the two models and the record of a training step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

ModelName = Literal['base', 'motivated']

MODEL_NAMES: tuple[ModelName, ...] = get_args(ModelName)

# Follows a model's name where its averaged weights are scored: 'base/ema'.
_AVERAGED = '/ema'


def lower_is_better(metric: str) -> bool:
    """Return whether a metric is a loss: ``'loss/cross_entropy'``, ``'base/ema/loss/...'``."""
    return 'loss' in metric.split('/')[:-1]


def averaged_name(model: ModelName) -> str:
    """Return the name under which the averaged weights of a model are scored: ``'base/ema'`` or ``'motivated/ema'``."""
    return f'{model}{_AVERAGED}'


def model_of(scored: str) -> ModelName:
    """Return the model whose weights, or averaged weights, have been scored under a name."""
    return 'base' if scored.partition('/')[0] == 'base' else 'motivated'


def split_metric(reported: str) -> tuple[str, str]:
    """Split the name of a reported metric.

    Returns:
        What was scored, and the metric: ``'base/ema/accuracy/top1'`` is ``'accuracy/top1'`` of ``'base/ema'``.
    """
    model, _, metric = reported.partition('/')
    averaged = _AVERAGED.removeprefix('/') + '/'
    return (model + _AVERAGED, metric.removeprefix(averaged)) if metric.startswith(averaged) else (model, metric)


class SampleLosses(NamedTuple):
    """The loss of each sample of a batch, in all processes.

    Attributes:
        indices: Index of each sample in the training data set.
        losses: Its loss, whose mean over the batch is the batch's loss.
    """

    indices: list[int]
    losses: list[float]


@dataclass(frozen=True, slots=True)
class StepRecord:
    """The record of one training batch, equal in all processes.

    Attributes:
        model: The model that trained on the batch.
        loss: Mean loss over all processes.
        images: Number of images, or other samples, in all processes.
        finite: Whether the loss is finite; otherwise no step was taken.
        stepped: Whether a step was taken: the loss is finite and, in precision ``'fp16'``, the gradient too.
        passes: Number of forward and backward passes of the model, in all processes.
        seconds: Seconds since the end of the last batch, including waiting for data but not validation.
        clock: Monotonic clock of rank 0 when the loss was read, in seconds.
        distilled: Whether the base model also took a distillation step on the batch.
        left_out: Number of images skipped because they could not be read, in all processes.
        stop_requested: Whether any process has received a signal to stop.
        grad_norm: L2 norm of the gradient before clipping, mean over all processes; infinite if a loss scaler skips
            the step, ``None`` unless a policy asks for it.
        measured: Other numbers that a policy asks for, by name, means over all processes.
        sample_losses: The loss of each sample; ``None`` unless a policy asks for it.
    """

    model: ModelName
    loss: float
    images: int
    finite: bool
    stepped: bool
    passes: int
    seconds: float
    clock: float = 0.0
    distilled: bool = False
    left_out: int = 0
    stop_requested: bool = False
    grad_norm: float | None = None
    measured: Mapping[str, float] = field(default_factory=dict)
    sample_losses: SampleLosses | None = None

    @property
    def accuracy(self) -> float | None:
        """Training accuracy on the batch, 0 to 1, mean over all processes; ``None`` unless a policy asks for it."""
        return self.measured.get('accuracy')
