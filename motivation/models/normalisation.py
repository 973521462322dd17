"""The mean and standard deviation that a network's inputs are normalised with."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from timm.data import resolve_data_config

from motivation.errors import ArgumentError


def normalisation_of(
    backbone: Any, channels: int, mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[Sequence[float], Sequence[float]]:
    """Return mean and standard deviation of the input channels of a timm model, on the scale 0 to 1.

    timm keeps those of the pretrained weights, mostly of red, green and blue. For another number of channels they follow
    what timm does to the weights of the first layer: for one channel it adds them up, so that its mean is that of the
    three; for others it repeats them in turn.

    Args:
        backbone: The model.
        channels: Number of its input channels.
        mean: The mean of each channel, or one for all; ``None`` for that of the model.
        std: Likewise.

    Raises:
        ArgumentError: There are not as many values as channels.
    """
    own = resolve_data_config(model=backbone)
    return (
        _adapted(own['mean'], channels) if mean is None else _given('mean', mean, channels),
        _adapted(own['std'], channels) if std is None else _given('std', std, channels),
    )


def _adapted(values: Sequence[float], channels: int) -> Sequence[float]:
    if len(values) == channels:
        return values
    if channels == 1:
        return (fmean(values),)
    return tuple(values[place % len(values)] for place in range(channels))


def _given(name: str, values: Sequence[float], channels: int) -> Sequence[float]:
    if len(values) not in (1, channels):
        raise ArgumentError(
            name,
            f'has {len(values)} values, {list(values)}, and the model takes {channels} channels; give one for each',
        )
    return values
