"""Training on the micro-batches of a batch, whose gradients add up to one optimizer step."""

from collections.abc import Callable, Sequence
from typing import Any


def accumulated(
    parts: Sequence[tuple[float, Any]], optim_wrapper: Any, train: Callable[[Any], dict[str, Any]]
) -> dict[str, Any]:
    """Train on every micro-batch of a batch, with one optimizer step.

    Args:
        parts: Share of the samples and data of each micro-batch, see :func:`~motivation.utils.batches.split`.
        optim_wrapper: The optimizer wrapper of the model; for several parts one with a context ``micro_batch``, as
            :class:`~motivation.engine.DualOptimWrapperConstructor` builds.
        train: Trains on the data of a micro-batch and returns its log variables.

    Returns:
        The mean of each log variable over all samples.
    """
    if len(parts) == 1:
        return train(parts[0][1])
    means: dict[str, Any] = {}
    for number, (share, data) in enumerate(parts, 1):
        with optim_wrapper.micro_batch(share, is_last=number == len(parts)):
            for name, value in train(data).items():
                means[name] = means.get(name, 0) + share * value
    return means
