"""The weights of classes in a loss, given or counted in the training data."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from motivation.errors import ArgumentError, ConfigError

# What a loss takes as weights: a number a class, or 'auto'.
GivenWeights = Sequence[Annotated[float, Ge(0)]] | Literal['auto'] | None
PositiveWeights = Annotated[float, Gt(0)] | Sequence[Annotated[float, Gt(0)]] | Literal['auto'] | None


class ClassWeights(nn.Module):
    """A weight for each of K classes, which ``'auto'`` takes from the labels of the training data.

    The weights are no part of the state dict, so that a weight map does not transfer them; a run saves those that were
    counted beside the models.

    Args:
        argument: Name of the argument of the loss, for messages.
        given: The weights, one for all classes, ``'auto'``, or ``None`` for none.
        num_classes: K.
        count: Returns the weights, (K,), from the number of images of each class, (K,), and of all.

    Attributes:
        is_auto: Whether they are counted.
        values: float32 (K,), or ``None`` if there are none or they are not counted yet.

    Raises:
        ArgumentError: There are not K weights, or all are 0.
    """

    values: Tensor | None

    def __init__(
        self, argument: str, given: Any, num_classes: int, count: Callable[[Tensor, int], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.argument = argument
        self.num_classes = num_classes
        self.is_auto = given == 'auto' if isinstance(given, str) else False
        self._count = count or balanced
        values = None
        if given is not None and not self.is_auto:
            values = torch.tensor(given, dtype=torch.float32)
            values = values.expand(num_classes).clone() if values.ndim == 0 else values
            if len(values) != num_classes:
                raise ArgumentError(
                    argument,
                    f"has {len(values)} numbers, and the model {num_classes} classes; give one a class, or 'auto'",
                )
            if not values.any():
                raise ArgumentError(argument, 'is 0 for every class; give at least one a weight')
        self.register_buffer('values', values, persistent=False)

    def forward(self) -> Tensor | None:
        """Return the weights, (K,), or ``None`` for none.

        Raises:
            ConfigError: They have not been counted.
        """
        if self.is_auto and self.values is None:
            raise ConfigError(
                f"{self.argument} is 'auto', which a run counts in its training data; give a number for each class to train "
                'without one'
            )
        return self.values

    def fit(self, labels: Tensor, names: Sequence[str] | None = None) -> None:
        """Count the weights.

        Args:
            labels: Labels of the training data: class indices (N,), those that are no class left out, or 0 and 1, (N, K).
            names: Names of the classes, for messages. Default: their indices.

        Raises:
            ArgumentError: A class has no image, or with several labels every image, so that it has no such weight.
        """
        if labels.ndim == 1:
            labels = labels[(labels >= 0) & (labels < self.num_classes)]
            counts, total = torch.bincount(labels, minlength=self.num_classes), len(labels)
        else:
            counts, total = (labels > 0).sum(dim=0), len(labels)
        weights = self._count(counts.double(), total)
        for place in (~(weights.isfinite() & (weights > 0))).nonzero().flatten().tolist()[:1]:
            name = repr(names[place]) if names else str(place)
            raise ArgumentError(
                self.argument,
                f"is 'auto', and class {name} has {int(counts[place]):,} of the {total:,} training images, which gives it no "
                'weight; give a number for each class',
            )
        like = self.values
        self.values = weights.to(torch.float32) if like is None else weights.to(like)


def balanced(counts: Tensor, total: int) -> Tensor:
    """Return weights inversely proportional to the frequency of classes, whose mean over all images is 1.

    N / (K n_c), for N images of K classes of which n_c are of class c; King and Zeng, "Logistic Regression in Rare Events
    Data" (2001), as ``class_weight='balanced'`` of scikit-learn.

    Args:
        counts: Number of images of each class, (K,).
        total: N.
    """
    return total / (len(counts) * counts)


def negatives_over_positives(counts: Tensor, total: int) -> Tensor:
    """Return (N - n_c) / n_c, with which both answers of a class weigh the same, as in torch's ``BCEWithLogitsLoss``.

    Args:
        counts: Number of images that have each class, (K,).
        total: N.
    """
    return (total - counts) / counts
