"""The base model learns from the motivated model on the same batch."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import torch
from annotated_types import Gt, Le
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor
from torch.nn import functional as F

from motivation.errors import ArgumentError, near_matches
from motivation.structures import ModelName
from motivation.utils.arguments import check_arguments, checked
from motivation.utils.batches import Inputs, run_network, without_targets

# How much the soft targets count, and by what both logits are divided.
Weight = Annotated[float, Gt(0), Le(1)]
Temperature = Annotated[float, Gt(0)]


class Distillation:
    """A motivated step, and after it a step of the base model towards the motivated model's outputs.

    Source: Hinton et al., arXiv 1503.02531, section 2; in place as in Yu and Huang, "Universally
    Slimmable Networks", arXiv 1903.05134.

    Args:
        base: The base model, with ``loss(logits, targets)``.
        motivated: The motivated model, likewise.
        weight: Weight of the KL divergence, above 0 and at most 1; the base's own loss has the rest.
        temperature: Divides both logits; the KL divergence is multiplied by its square.

    Raises:
        ConfigError: A value is out of range, a model has no ``loss``, or the two models normalise
            their images differently.
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
        self.base = base
        self.motivated = motivated
        self.weight = weight
        self.temperature = temperature

    @classmethod
    def from_config(cls, base: BaseModel, motivated: BaseModel, config: Any) -> 'Distillation':
        """Build it from the argument ``distillation`` of both models.

        Raises:
            ConfigError: It is no dict of ``weight`` and ``temperature``, or as of the class.
        """
        for key in config.keys() - {'weight', 'temperature'}:
            known = near_matches(key, ('weight', 'temperature'))
            raise ArgumentError(f'distillation.{key}', f'is not an argument of Distillation; {known}')
        try:
            check_arguments(cls, config)
        except ArgumentError as error:
            raise ArgumentError(f'distillation.{error.argument}', error.problem) from error
        return cls(base, motivated, **config)

    def train_step(
        self,
        data: Any,
        optim_wrapper: OptimWrapperDict,
        steppers: Mapping[ModelName, Any],
        exchange: Callable[[ModelName], None],
    ) -> dict[str, Tensor]:
        """Step the motivated model, then the base model.

        Each optimizer wrapper of a run checks the loss before it steps: such a batch has it reduced over all
        processes, and read, twice.

        Args:
            data: A batch.
            optim_wrapper: Both optimizer wrappers.
            steppers: Both models, or what they are wrapped in for several processes.
            exchange: Transfers the weights of the named model into the other.

        Returns:
            ``'loss'`` of the motivated model and ``'distillation_loss'`` of the base model.
        """
        prepared = self.motivated.data_preprocessor(data, True)
        inputs, targets = without_targets(prepared), prepared['targets']
        target_logits, loss = step_on_logits(
            steppers['motivated'],
            inputs,
            optim_wrapper['motivated'],
            lambda logits: self.motivated.loss(logits, targets),
        )
        exchange('motivated')
        _, base_loss = step_on_logits(
            steppers['base'],
            inputs,
            optim_wrapper['base'],
            lambda logits: (
                (1 - self.weight) * self.base.loss(logits, targets)
                + self.weight * soft_target_divergence(logits, target_logits, self.temperature)
            ),
        )
        exchange('base')
        return {'loss': loss, 'distillation_loss': base_loss}


def step_on_logits(
    model: Any, inputs: Inputs, optim_wrapper: OptimWrapper, loss_of: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """One training step of a model on a loss of its logits.

    Args:
        model: The model, or what it is wrapped in for several processes.
        inputs: As its data preprocessor returns them.
        optim_wrapper: Its optimizer wrapper.
        loss_of: The loss, a scalar, of the logits (N, K).

    Returns:
        Logits and loss, detached.
    """
    with optim_wrapper.optim_context(model):
        logits = run_network(model, inputs)
        loss = loss_of(logits)
    optim_wrapper.update_params(loss)
    return logits.detach(), loss.detach()


def soft_target_divergence(logits: Tensor, target_logits: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(target / T) || softmax(logits / T)), mean over samples; logits (N, K)."""
    log_probabilities, log_targets = ((x / temperature).log_softmax(dim=1) for x in (logits, target_logits))
    return temperature**2 * F.kl_div(log_probabilities, log_targets, reduction='batchmean', log_target=True)
