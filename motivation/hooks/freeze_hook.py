"""The hook that freezes parts of both models for some epochs."""

from collections.abc import Sequence
from typing import Annotated, Any

from annotated_types import Ge
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from motivation.engine.parallel import train_together
from motivation.errors import ArgumentError, counted
from motivation.registry import HOOKS
from motivation.structures import MODEL_NAMES, ModelName
from motivation.utils.arguments import Count, checked
from motivation.weight_maps.frozen import frozen_norms, frozen_tensors


@HOOKS.register_module()
class FreezeHook(Hook):
    """Freezes named parts of both models from one epoch to another.

    A frozen parameter has no gradient, and the optimizer leaves it alone, its decay and its momentum too; a frozen
    normalisation layer normalises by its running statistics and keeps them. What is frozen in one model is frozen in the
    other where the two share it, see :func:`~motivation.weight_maps.frozen.frozen_tensors`. Several hooks freeze what
    any of them freezes.

    Args:
        parameters: Names of tensors or modules, or patterns of them: ``['backbone.conv1', 'backbone.layer1']``.
        begin: First epoch, counted from 0, at least 0. Default: 0.
        end: Epoch, counted from 0, in which they train again, above ``begin``. ``None`` (default) for never.
        model: ``'base'`` or ``'motivated'`` to look for the names in one model; ``None`` (default) for both.

    Raises:
        ArgumentError: A name matches nothing, a model has nothing left to train, or ``end`` is not after ``begin``.

    Example:
        >>> custom_hooks = [dict(type='FreezeHook', parameters=['backbone.conv1', 'backbone.layer[12]'], end=5)]
    """

    @checked
    def __init__(
        self,
        parameters: Sequence[str],
        begin: Annotated[int, Ge(0)] = 0,
        end: Count | None = None,
        model: ModelName | None = None,
    ) -> None:
        if not parameters:
            raise ArgumentError('parameters', "must be a list that is not empty; write ['backbone.layer1']")
        if end is not None and end <= begin:
            raise ArgumentError('end', f'must be above begin, which is {begin}, got {end}; raise it')
        self.parameters = list(parameters)
        self.begin, self.end = begin, end
        self.models: Sequence[ModelName] = MODEL_NAMES if model is None else (model,)
        self._frozen: dict[ModelName, set[str]] = {name: set() for name in MODEL_NAMES}
        # What the first hook, which acts for all, has frozen.
        self._held: list[nn.Parameter] = []
        self._norms: list[nn.Module] = []

    def frozen_at(self, epoch: int) -> dict[ModelName, set[str]]:
        """Return the names of the tensors of each model that this hook freezes in an epoch, counted from 0."""
        now = self.begin <= epoch and (self.end is None or epoch < self.end)
        return self._frozen if now else {name: set() for name in MODEL_NAMES}

    def before_run(self, runner: Runner) -> None:
        self._frozen = frozen_tensors(runner.model.weight_map, self.parameters, self.models)

    def before_train(self, runner: Runner) -> None:
        self._apply(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        self._apply(runner)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        for norm in self._norms:  # the loop has set the whole model to training mode
            norm.eval()

    def _apply(self, runner: Runner) -> None:
        """Freeze what all hooks of this class freeze in this epoch, and let the rest train again."""
        hooks = [hook for hook in runner.hooks if isinstance(hook, FreezeHook)]
        if hooks[0] is not self:
            return
        model, epoch = runner.model, runner.epoch
        frozen = {name: set().union(*(hook.frozen_at(epoch)[name] for hook in hooks)) for name in MODEL_NAMES}
        tensors = {name: model.weight_map.tensors(name) for name in MODEL_NAMES}
        chosen = [
            tensor
            for name in MODEL_NAMES
            for path, tensor in tensors[name].items()
            if path in frozen[name] and isinstance(tensor, nn.Parameter)
        ]
        mine = {id(parameter) for parameter in self._held}
        # Parameters that the network itself freezes stay as they are.
        held = [parameter for parameter in chosen if parameter.requires_grad or id(parameter) in mine]
        if {id(parameter) for parameter in held} != mine:
            for parameter in self._held:
                parameter.requires_grad_(True)
            for parameter in held:
                parameter.requires_grad_(False)
                parameter.grad = None
            self._held = held
            self._announce(runner, frozen, tensors)
            if get_world_size() > 1:  # which exchanges the gradients of what had one when it was built
                train_together(model, runner.cfg)
        self._norms = [norm for name in MODEL_NAMES for norm in frozen_norms(getattr(model, name), frozen[name])]

    def _announce(self, runner: Runner, frozen: dict[ModelName, set[str]], tensors: dict[ModelName, Any]) -> None:
        sizes = []
        for name in MODEL_NAMES:
            parameters = {path: tensor for path, tensor in tensors[name].items() if isinstance(tensor, nn.Parameter)}
            entries = sum(parameters[path].numel() for path in frozen[name] if path in parameters)
            share = entries / sum(tensor.numel() for tensor in parameters.values())
            count = counted(sum(path in parameters for path in frozen[name]), 'parameter')
            sizes.append(f'{count} of the {name} model ({share:.0%} of its entries)')
        runner.announce(f'epoch {runner.epoch + 1}: frozen are {" and ".join(sizes)}')
