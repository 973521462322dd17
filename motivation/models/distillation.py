"""In-place distillation: the base model learns from the motivated model on the same batch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import torch
from annotated_types import Gt, Le
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor

from motivation.errors import ArgumentError
from motivation.models.divergences import soft_target_divergence
from motivation.models.losses import takes_several_labels
from motivation.models.micro_batches import accumulated
from motivation.structures import ModelName
from motivation.utils.arguments import checked
from motivation.utils.batches import Inputs, run_network, without_targets
from motivation.utils.precision import full_precision

Weight = Annotated[float, Gt(0), Le(1)]
Temperature = Annotated[float, Gt(0)]


class Distillation:
    """A training step of the motivated model, followed by one of the base model towards its outputs.

    Source: Hinton et al., arXiv 1503.02531, section 2; in place as in Yu and Huang, "Universally
    Slimmable Networks", arXiv 1903.05134.

    Args:
        base: The base model, with ``loss(logits, targets)``.
        motivated: The motivated model, with ``loss(logits, targets)``.
        weight: Weight of the KL divergence, above 0 and at most 1; the base model's own loss has weight
            ``1 - weight``.
        temperature: Divisor of both logits, above 0; the KL divergence is multiplied by its square.

    Raises:
        ConfigError: A value is out of range, a model has no ``loss``, or the two models normalise images or measure
            their outputs differently.
    """

    @checked
    def __init__(
        self, base: BaseModel, motivated: BaseModel, weight: Weight = 0.5, temperature: Temperature = 1.0
    ) -> None:
        for name, model in (('base', base), ('motivated', motivated)):
            if not callable(getattr(model, 'loss', None)):
                raise ArgumentError(
                    name,
                    f'is a {type(model).__name__} without loss(logits, targets), which distillation needs; add it, or leave '
                    'distillation out',
                )
        ours, theirs = base.data_preprocessor, motivated.data_preprocessor
        for name in ('mean', 'std'):
            if not torch.equal(getattr(ours, name, torch.zeros(1)), getattr(theirs, name, torch.zeros(1))):
                raise ArgumentError(
                    f'base.{name}',
                    f'and motivated.{name} differ, and distillation gives both models the same images; make them agree',
                )
        self.divergence = divergence_of(base.loss)
        if divergence_kind(base.loss) != divergence_kind(motivated.loss):
            kinds = ' and '.join(type(model.loss).__name__ for model in (base, motivated))
            raise ArgumentError(
                'base.loss',
                f'and motivated.loss are {kinds}, whose outputs mean different things, and the base model learns those of the '
                'motivated model; give both the same loss',
            )
        self.base = base
        self.motivated = motivated
        self.weight = weight
        self.temperature = temperature

    def train_step(
        self,
        parts: Sequence[tuple[float, Any]],
        optim_wrapper: OptimWrapperDict,
        steppers: Mapping[ModelName, Any],
        exchange: Callable[[ModelName], None],
    ) -> dict[str, Tensor]:
        """Train the motivated model, then the base model, on one batch.

        Both optimizer wrappers check their loss, so the loss is reduced over processes and read twice.

        Args:
            parts: The micro-batches of the batch, from :func:`~motivation.utils.batches.split`.
            optim_wrapper: The optimizer wrappers of both models.
            steppers: Both models, or their ``DistributedDataParallel`` wrappers.
            exchange: Transfers the weights of the named model to the other.

        Returns:
            ``'loss'`` of the motivated model and ``'distillation_loss'`` of the base model, which takes no step if the
            motivated model's gradients overflow in fp16.
        """
        taught: list[tuple[Inputs, Tensor, Tensor]] = []

        def teach(data: Any) -> dict[str, Tensor]:
            prepared = self.motivated.data_preprocessor(data, True)
            inputs, targets = without_targets(prepared), prepared['targets']
            wrapper = optim_wrapper['motivated']
            target_logits, loss = step_on_logits(
                steppers['motivated'], inputs, wrapper, lambda logits: self.motivated.loss(logits, targets)
            )
            taught.append((inputs, targets, target_logits))
            return {'loss': loss}

        def learn(batch: tuple[Inputs, Tensor, Tensor]) -> dict[str, Tensor]:
            inputs, targets, target_logits = batch
            _, loss = step_on_logits(
                steppers['base'],
                inputs,
                optim_wrapper['base'],
                lambda logits: (
                    (1 - self.weight) * self.base.loss(logits, targets)
                    + self.weight * self.divergence(logits, target_logits, self.temperature)
                ),
            )
            return {'distillation_loss': loss}

        log_vars = accumulated(parts, optim_wrapper['motivated'], teach)
        if getattr(optim_wrapper['motivated'], 'overflowed', False):
            return log_vars  # a batch without a step
        exchange('motivated')
        shares = [share for share, _ in parts]
        log_vars |= accumulated(list(zip(shares, taught, strict=True)), optim_wrapper['base'], learn)
        exchange('base')
        return log_vars


def step_on_logits(
    model: Any, inputs: Inputs, optim_wrapper: OptimWrapper, loss_of: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Run one training step of a model on a loss of its logits.

    Args:
        model: The model, or its ``DistributedDataParallel`` wrapper.
        inputs: Inputs as the model's data preprocessor returns them.
        optim_wrapper: The model's optimizer wrapper.
        loss_of: Returns the scalar loss of logits (N, K).

    Returns:
        The logits and the loss, detached.
    """
    with optim_wrapper.optim_context(model):
        logits = full_precision(run_network(model, inputs))
        loss = loss_of(logits)
    optim_wrapper.update_params(loss)
    return logits.detach(), loss.detach()


def divergence_of(loss: Any) -> Callable[[Tensor, Tensor, float], Tensor]:
    """Return the function (logits, target logits, temperature) that a model minimises to learn from another's outputs.

    Args:
        loss: The loss of the model. One without a ``divergence`` gets that of softmax outputs.

    Raises:
        ArgumentError: It has none, and is for several labels an image.
    """
    divergence = getattr(loss, 'divergence', None)
    if divergence is None and takes_several_labels(loss):
        raise ArgumentError(
            'loss',
            f'is a {type(loss).__name__} for several labels without divergence(logits, target_logits, temperature), which '
            'distillation needs; add it, or leave distillation out',
        )
    return divergence or soft_target_divergence


def divergence_kind(loss: Any) -> tuple[bool, bool]:
    """Return whether a loss is for several labels, and whether its outputs are independent of each other."""
    return takes_several_labels(loss), divergence_of(loss) is not soft_target_divergence
