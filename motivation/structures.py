"""What is handed from part to part: names of the two models, and the record of a training step."""

from dataclasses import dataclass
from typing import Literal, get_args

ModelName = Literal['base', 'motivated']

MODEL_NAMES: tuple[ModelName, ...] = get_args(ModelName)


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One training batch, as all processes agree on it.

    Attributes:
        model: The model that trained on it.
        loss: Its loss, the mean over all processes.
        images: Its images, or samples of another kind, those of all processes.
        finite: Whether the loss is finite; where it is not, no step was taken.
        seconds: Time since the end of the batch before, waiting for data included, validation not.
        clock: Monotonic clock of the first process when the loss was read, in seconds.
        distilled: Whether the base model then took a step of its own towards the motivated model's outputs.
        left_out: Images that could not be read and are missing from it, those of all processes.
        stop_requested: Whether a signal has asked any of the processes to end.
        grad_norm: L2 norm of the gradient before clipping, the mean over all processes, where a policy asks
            for it; infinite where a loss scaler skips the step.
        accuracy: Share of the images that were classified correctly, 0 to 1, the mean over all processes,
            where a policy asks for it.
    """

    model: ModelName
    loss: float
    images: int
    finite: bool
    seconds: float
    clock: float = 0.0
    distilled: bool = False
    left_out: int = 0
    stop_requested: bool = False
    grad_norm: float | None = None
    accuracy: float | None = None
