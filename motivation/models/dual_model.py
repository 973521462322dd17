"""The base model, the motivated model that contains it, and which of the two is being trained."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.optim import OptimWrapperDict
from timm.layers import BatchNormAct2d, SyncBatchNormAct, convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from motivation.errors import ConfigError
from motivation.method import Motivation
from motivation.models.distillation import Distillation
from motivation.models.pretraining import Pretraining, is_pretrained
from motivation.policies import Never, SwitchPolicy
from motivation.registry import MODELS, WEIGHT_MAPS
from motivation.structures import MODEL_NAMES, ModelName
from motivation.utils.arguments import checked
from motivation.utils.training_mode import uncompiled
from motivation.weight_maps import WeightMap, zero_extension

# Forward passes of the batch norms that can be converted.
_KNOWN_NORMS = {norm.forward for norm in (_BatchNorm, nn.SyncBatchNorm, BatchNormAct2d, SyncBatchNormAct)}


@MODELS.register_module()
class DualModel(BaseModel):
    """Two models of one family joined by a weight map, of which one trains at a time.

    What trains and what travels is decided by its :class:`~motivation.method.Motivation`; this class
    builds the parts from a config and makes the training step. ``docs/choices.md`` has the
    measurements behind the defaults.

    Args:
        base: Config of the base model, a :class:`~mmengine.model.BaseModel` such as
            :class:`TimmClassifier`. What takes no images has a method ``example_batch(samples)``, see
            :mod:`motivation.utils.example`.
        motivated: Config of the motivated model.
        weight_map: Config of the map, by default an :class:`~motivation.weight_maps.AutoMap`; it is
            built with the two modules as ``base`` and ``motivated``.
        statistics: Running statistics of normalisation layers: ``'private'`` to each model, or
            ``'shared'`` through the map (the paper's letter; each model then spoils the other's).
        recalibrate: Training images on which the statistics are re-estimated before each evaluation
            and export, for which alone they hold; 0 for none.
        optimizer_state: Momentum and moments of mapped parameters: ``'separate'`` in each optimizer,
            or ``'transfer'`` through the map at each switch.
        extension: How it begins: ``'zero'``, so that the motivated model begins as the base model's
            function (until it is first woken, the base's statistics are then its own too), or
            ``'default'``, the network's own initialisation, or the pretrained weights it came with.
        distillation: ``dict(weight=0.5, temperature=1.0)``: after each motivated step the base model
            takes one of its own on the same batch, on ``(1 - weight)`` of its loss and ``weight`` of
            the KL divergence to the motivated model's outputs at that temperature, times its square
            (Hinton et al., arXiv 1503.02531). Both models need ``loss(logits, targets)``. ``None`` for
            none, the paper.

    Attributes:
        motivation: The method; the base trains alone until :meth:`follow` gives it a policy.

    Raises:
        ConfigError: A field has none of these values, or the base model does not fit.
    """

    @checked
    def __init__(
        self,
        base: dict[str, Any],
        motivated: dict[str, Any],
        weight_map: dict[str, Any] | None = None,
        statistics: Literal['private', 'shared'] = 'private',
        recalibrate: Annotated[int, Ge(0)] = 0,
        optimizer_state: Literal['separate', 'transfer'] = 'separate',
        extension: Literal['zero', 'default'] = 'zero',
        distillation: dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.base: BaseModel = MODELS.build(base)
        self.motivated: BaseModel = MODELS.build(motivated)
        map_config = {'type': 'AutoMap', **(weight_map or {})}
        self.weight_map: WeightMap = WEIGHT_MAPS.build(
            map_config, default_args={'base': self.base, 'motivated': self.motivated}
        )
        self.statistics = statistics
        self.recalibrate = recalibrate
        self.extension = extension
        self.distillation = (
            None if distillation is None else Distillation.from_config(self.base, self.motivated, distillation)
        )
        self.optimizer_state = optimizer_state
        self.motivation = self._motivation(Never())
        # What makes a training step: the models themselves, or around them what makes processes agree.
        # In no module's registry, so that checkpoints are the same for any number of processes.
        self._steppers: dict[ModelName, Any] = {name: getattr(self, name) for name in MODEL_NAMES}
        # Why the motivated model does not begin as the base model's function though asked to.
        self.extension_caveats: list[str] = []
        # What becomes of the weights of a pretrained motivated model; ``None`` where it has none.
        self.pretraining: Pretraining | None = None
        self._begin_extension()

    def init_weights(self) -> None:
        """Initialise both models as MMEngine does, by their ``init_cfg``, and begin the extension anew."""
        before = _checksum(self)
        super().init_weights()
        if _checksum(self) != before:
            self._begin_extension()

    def _begin_extension(self) -> None:
        given = _copy(self.motivated) if is_pretrained(self.motivated) else None
        if self.extension == 'zero':
            try:
                self.extension_caveats = zero_extension(self.weight_map)
            except ConfigError as error:  # a model of the user's own, which trains all the same
                self.extension_caveats = [str(error)]
        self.pretraining = None if given is None else self._compare_with(given)

    @torch.no_grad()
    def _compare_with(self, given: dict[str, Tensor]) -> Pretraining:
        """What the first transfer and the extension make of the weights that the motivated model was given."""
        begun = _copy(self.motivated)
        self.transfer()
        changed = {name for name, value in _copy(self.motivated).items() if not value.equal(given[name])}
        for name, tensor in self.weight_map.tensors('motivated').items():
            tensor.copy_(begun[name])
        replaced = changed & {pair.motivated for pair in self.weight_map.pairs}
        return Pretraining(is_pretrained(self.base), len(replaced), len(changed - replaced), len(given))

    def compile(self, **kwargs: Any) -> None:
        """Compile each model in place: the forward passes of training, that is, and not what is around them.

        Modules, parameters and their names stay as they are. Evaluation is not compiled.

        Args:
            **kwargs: Arguments of :func:`torch.compile`.
        """
        for name in MODEL_NAMES:
            getattr(self, name).compile(**kwargs)

    def synchronize_norms(self) -> None:
        """Have batch norms in training use the statistics of the batches of all processes.

        Parameters, buffers and their names stay as they are.

        Raises:
            ConfigError: A batch norm has a forward pass of its own, which would be lost.
        """
        for name in MODEL_NAMES:
            model = getattr(self, name)
            for path, module in model.named_modules():
                if isinstance(module, _BatchNorm) and type(module).forward not in _KNOWN_NORMS:
                    raise ConfigError(
                        f"sync_bn is 'torch', and model.{name}.{path} of class {type(module).__name__} has a forward pass of "
                        'its own; leave sync_bn out'
                    )
            setattr(self, name, convert_sync_batchnorm(model))  # timm's, which keeps the activation in a norm
        self.weight_map.look_up_tensors_anew()

    def parallelize(self, **kwargs: Any) -> None:
        """Average the gradients of both models over all processes from now on.

        Args:
            **kwargs: Passed to :class:`torch.nn.parallel.DistributedDataParallel`.
        """
        for name in MODEL_NAMES:
            self._steppers[name] = MMDistributedDataParallel(getattr(self, name), **kwargs)

    def follow(self, policy: SwitchPolicy, optim_wrapper: OptimWrapperDict | None = None) -> None:
        """Let a policy decide from now on; the model that is active stays so until it does.

        Args:
            policy: The policy.
            optim_wrapper: Both optimizer wrappers, whose state travels with the weights if it is to.
        """
        state = {**self.motivation.state_dict(), 'policy': policy.state_dict()}
        self.motivation = self._motivation(policy, optim_wrapper)
        self.motivation.load_state_dict(state)

    def _motivation(self, policy: SwitchPolicy, optim_wrapper: OptimWrapperDict | None = None) -> Motivation:
        optimizers: dict[ModelName, Optimizer] | None = None
        if self.optimizer_state == 'transfer' and optim_wrapper is not None:
            optimizers = {name: optim_wrapper[name].optimizer for name in MODEL_NAMES}
        return Motivation(
            self.base,
            self.motivated,
            self.weight_map,
            policy,
            statistics=self.statistics,
            inherits_statistics=self.extension == 'zero',
            optimizers=optimizers,
        )

    @property
    def active(self) -> ModelName:
        """The model being trained: ``'base'`` or ``'motivated'``."""
        return self.motivation.active

    def activate(self) -> None:
        """Begin a motivated spell: transfer base -> motivated; nothing if it is active already."""
        self.motivation.activate()

    def deactivate(self) -> None:
        """End a motivated spell: transfer motivated -> base; nothing if the base is active already."""
        self.motivation.deactivate()

    def transfer(self) -> None:
        """Make both models current; validation, export and checkpoints call it first."""
        self.motivation.transfer()

    def train_step(self, data: Any, optim_wrapper: OptimWrapperDict) -> dict[str, Any]:
        """Train the active model on one batch with its own optimizer wrapper.

        Args:
            data: A batch, as the active model's own ``train_step`` takes it.
            optim_wrapper: One optimizer wrapper each under ``'base'`` and ``'motivated'``.

        Returns:
            What the active model logs, ``'loss'`` among it, and ``'motivated'``: 1.0 if the
            motivated model made the step, 0.0 if the base model did. With distillation, after a
            motivated step, also ``'distillation_loss'``, that of the base's own step.
        """
        if self.active == 'motivated' and self.distillation is not None:
            log_vars = self.distillation.train_step(data, optim_wrapper, self._steppers, self._exchange)
        else:
            log_vars = self._steppers[self.active].train_step(data, optim_wrapper[self.active])
        return {**log_vars, 'motivated': float(self.active == 'motivated')}

    def _exchange(self, source: ModelName) -> None:
        self.weight_map.transfer(source, statistics=self.statistics == 'shared')

    def val_step(self, data: Any, models: Sequence[ModelName] = MODEL_NAMES) -> dict[ModelName, Any]:
        """Predictions for one batch; call :meth:`transfer` before the first.

        Args:
            data: A batch, as each model's own ``val_step`` takes it.
            models: The models that predict.

        Returns:
            What each model's own ``val_step`` returns, by model.
        """
        with uncompiled(self.base, self.motivated):
            return {name: getattr(self, name).val_step(data) for name in models}

    test_step = val_step

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the active model's ``forward``."""
        return getattr(self, self.active)(*args, **kwargs)

    def get_extra_state(self) -> Tensor:
        """Which model is active, and whether the motivated one ever was; a tensor loads as plain data."""
        return torch.tensor([self.active == 'motivated', self.motivation.was_woken])

    def set_extra_state(self, state: Tensor) -> None:
        """Restore what :meth:`get_extra_state` returned."""
        motivated, self.motivation.was_woken = state.tolist()
        self.motivation.active = 'motivated' if motivated else 'base'


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items() if isinstance(value, Tensor)}


def _checksum(model: nn.Module) -> float:
    return sum(float(parameter.detach().double().sum()) for parameter in model.parameters())
