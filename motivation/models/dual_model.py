"""The dual model: a base model and a motivated model that contains it, trained in one run."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Lt
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.optim import OptimWrapperDict
from timm.layers import BatchNormAct2d, SyncBatchNormAct, convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from motivation.errors import ConfigError
from motivation.method import Motivation
from motivation.models.averages import Averages
from motivation.models.distillation import Distillation
from motivation.models.drop_path import scale_drop_path, with_drop_path
from motivation.models.micro_batches import accumulated
from motivation.models.pretraining import Extension, LoadedRun, Pretraining, begin, find_extension, find_start
from motivation.policies import Never, SwitchPolicy
from motivation.registry import MODELS, WEIGHT_MAPS
from motivation.structures import MODEL_NAMES, ModelName
from motivation.utils.arguments import Written, build_nested, checked
from motivation.utils.batches import split
from motivation.utils.precision import Precision, autocast
from motivation.utils.training_mode import uncompiled
from motivation.weight_maps import WeightMap

# Forward methods of the batch norms that can be converted to SyncBatchNorm.
_KNOWN_NORMS = {norm.forward for norm in (_BatchNorm, nn.SyncBatchNorm, BatchNormAct2d, SyncBatchNormAct)}


@MODELS.register_module()
class DualModel(BaseModel):
    """Two models of one family, joined by a weight map, of which one trains at a time.

    :class:`~motivation.method.Motivation` decides which model trains and transfers the weights; this class builds
    the parts from a config and runs the training step. ``docs/choices.md`` has the measurements behind the defaults.

    Args:
        base: Config of the base model, a :class:`~mmengine.model.BaseModel` such as :class:`TimmClassifier`. A
            model whose inputs are not images has a method ``example_batch(samples)``, see
            :mod:`motivation.utils.example`.
        motivated: Config of the motivated model.
        weight_map: Config of the weight map, which is built with both models as ``base`` and ``motivated``.
            Default: :class:`~motivation.weight_maps.AutoMap`.
        statistics: Running statistics of normalisation layers: ``'private'`` to each model (default), or
            ``'shared'`` through the map (as in the paper; each model then corrupts the other's).
        recalibrate: Number of training images on which the statistics are re-estimated before each evaluation and
            export, and used for that only. Default: 0, no re-estimation.
        optimizer_state: State of mapped parameters (momentum, moments): ``'separate'`` in each optimizer
            (default), or ``'transfer'`` through the map at each switch.
        extension: Initial extension: ``'zero'`` (default), with which the motivated model computes the base
            model's function, and uses its statistics, until it is first activated; or ``'default'``, the network's
            own initialisation or pretrained weights, which is the only value and the default for
            ``start='motivated'``.
        start: The pretrained model from whose weights both begin: ``'base'``, and the motivated model begins as
            ``extension`` says; or ``'motivated'``, out of which the base model is cut through the map. ``None``
            (default) for the one that is pretrained, if any; required if both are. See ``docs/pretrained.md``.
        distillation: ``dict(weight=0.5, temperature=1.0)``: after each motivated step the base model takes a step
            on the same batch. Its loss is ``(1 - weight)`` times its own loss plus ``weight * temperature**2``
            times the KL divergence to the motivated model's outputs (Hinton et al., arXiv 1503.02531). Both models
            need ``loss(logits, targets)``. ``None`` (default, the paper) for no distillation.
        ema: ``dict(decay=0.999)``: average the weights of both models over the steps, and score and export the
            averages beside them; for more arguments see :class:`~motivation.models.averages.Averages`. Training is
            the same. ``None`` (default) for no averages.
        precision: ``'bf16'`` or ``'fp16'`` trains and evaluates both models in mixed precision
            (:class:`torch.autocast`); weights, losses and metrics stay float32. ``'fp16'`` scales the loss, and skips
            steps whose gradients overflow. Default: ``'fp32'``.
        channels_last: Whether convolutions keep the channels of a pixel together in memory, which is faster on most
            CPUs and on GPUs in mixed precision. Default: ``False``.
        drop_path_rate: Rate of stochastic depth of the motivated model's last block, and, scaled to its depth, of the base
            model's. Default: what each model's config says.

    Attributes:
        motivation: The method; the base model trains alone until :meth:`follow` sets a policy.
        extension_caveats: Why the motivated model does not begin as the base model's function with
            ``extension='zero'``, a sentence each.
        pretraining: What becomes of pretrained weights; ``None`` without any.
        averages: The averaged weights of both models, outside of the state dict; ``None`` without ``ema``.

    Raises:
        ConfigError: An argument is invalid, or the base model does not fit into the motivated model.
    """

    @checked
    def __init__(
        self,
        base: dict[str, Any],
        motivated: dict[str, Any],
        weight_map: Annotated[dict[str, Any], Written("dict(type='AutoMap')")] | None = None,
        statistics: Literal['private', 'shared'] = 'private',
        recalibrate: Annotated[int, Ge(0)] = 0,
        optimizer_state: Literal['separate', 'transfer'] = 'separate',
        extension: Extension | None = None,
        start: ModelName | None = None,
        distillation: Annotated[dict[str, float], Written('dict(weight=0.5)')] | None = None,
        ema: Annotated[dict[str, Any], Written('dict(decay=0.999)')] | None = None,
        precision: Precision = 'fp32',
        channels_last: bool = False,
        drop_path_rate: Annotated[float, Ge(0), Lt(1)] | None = None,
    ) -> None:
        super().__init__()
        self.base: BaseModel = MODELS.build(with_drop_path(base, drop_path_rate, 'base'))
        self.motivated: BaseModel = MODELS.build(with_drop_path(motivated, drop_path_rate, 'motivated'))
        scale_drop_path(self.base, self.motivated, drop_path_rate)
        map_config = {'type': 'AutoMap', **(weight_map or {})}
        self.weight_map: WeightMap = WEIGHT_MAPS.build(
            map_config, default_args={'base': self.base, 'motivated': self.motivated}
        )
        self.statistics = statistics
        self.recalibrate = recalibrate
        self.start = find_start(self.base, self.motivated, start)
        self.extension = find_extension(extension, self.start)
        models = {'base': self.base, 'motivated': self.motivated}
        self.distillation = (
            None if distillation is None else build_nested(Distillation, 'distillation', distillation, **models)
        )
        self.averages = None if ema is None else build_nested(Averages, 'ema', ema, weight_map=self.weight_map)
        self.optimizer_state = optimizer_state
        self.precision = precision
        self.channels_last = channels_last
        self.motivation = self._motivation(Never())
        # The models or their DistributedDataParallel wrappers, in a dict and so not registered as submodules:
        # checkpoints have the same keys for any number of processes.
        self._steppers: dict[ModelName, Any] = {name: getattr(self, name) for name in MODEL_NAMES}
        self._begin()
        if channels_last:
            self.to(memory_format=torch.channels_last)  # outputs take the memory format of the weights

    def init_weights(self) -> None:
        """Initialise both models by their ``init_cfg``, as MMEngine does, and then what follows from that again."""
        before = _checksum(self)
        super().init_weights()
        if _checksum(self) != before:
            self._begin()

    def _begin(self) -> None:
        self.extension_caveats: list[str]
        self.pretraining: Pretraining | LoadedRun | None
        self.extension_caveats, self.pretraining = begin(
            self.weight_map, self.start, self.extension, statistics=self.motivation.transfers_statistics
        )

    def compile(self, **kwargs: Any) -> None:
        """Compile the training forward pass of each model in place. Evaluation is not compiled.

        Args:
            **kwargs: Arguments of :func:`torch.compile`.
        """
        for name in MODEL_NAMES:
            getattr(self, name).compile(**kwargs)

    def synchronize_norms(self) -> None:
        """Convert batch norms to SyncBatchNorm, which keeps parameters, buffers and their names.

        Raises:
            ConfigError: A batch norm class has its own ``forward``, which the conversion would drop.
        """
        for name in MODEL_NAMES:
            model = getattr(self, name)
            for path, module in model.named_modules():
                if isinstance(module, _BatchNorm) and type(module).forward not in _KNOWN_NORMS:
                    raise ConfigError(
                        f"sync_bn is 'torch', but model.{name}.{path} of class {type(module).__name__} has its own "
                        'forward; leave sync_bn out'
                    )
            setattr(self, name, convert_sync_batchnorm(model))  # timm's keeps the activation of a BatchNormAct2d
        self.weight_map.look_up_tensors_anew()

    def parallelize(self, **kwargs: Any) -> None:
        """Wrap both models for distributed training, so that gradients are averaged over processes.

        Args:
            **kwargs: Arguments of :class:`torch.nn.parallel.DistributedDataParallel`.
        """
        for name in MODEL_NAMES:
            self._steppers[name] = MMDistributedDataParallel(getattr(self, name), **kwargs)

    def follow(self, policy: SwitchPolicy, optim_wrapper: OptimWrapperDict | None = None) -> None:
        """Set the policy. The active model does not change until the policy decides.

        Args:
            policy: The policy.
            optim_wrapper: The optimizer wrappers of both models, for ``optimizer_state='transfer'``.
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
        """Activate the motivated model: transfer base -> motivated. Does nothing if it is active."""
        self.motivation.activate()

    def deactivate(self) -> None:
        """Deactivate the motivated model: transfer motivated -> base. Does nothing if it is not active."""
        self.motivation.deactivate()

    def transfer(self) -> None:
        """Copy the shared weights of the active model to the other; called before validation, export and saving."""
        self.motivation.transfer()

    def train_step(self, data: Any, optim_wrapper: OptimWrapperDict) -> dict[str, Any]:
        """Train the active model on one batch.

        Args:
            data: A batch as the active model's ``train_step`` takes it.
            optim_wrapper: Optimizer wrappers named ``'base'`` and ``'motivated'``.

        Returns:
            The log variables of the active model, with ``'loss'``, and ``'motivated'``: 1.0 if the motivated model
            was active, else 0.0. After a step with distillation also ``'distillation_loss'`` of the base model.
        """
        wrapper, stepper = optim_wrapper[self.active], self._steppers[self.active]
        parts = split(data, getattr(wrapper, 'accumulate', 1))
        if self.active == 'motivated' and self.distillation is not None:
            log_vars = self.distillation.train_step(parts, optim_wrapper, self._steppers, self._exchange)
        else:
            log_vars = accumulated(parts, wrapper, lambda part: stepper.train_step(part, wrapper))
        return {**log_vars, 'motivated': float(self.active == 'motivated')}

    def _exchange(self, source: ModelName) -> None:
        self.weight_map.transfer(source, statistics=self.statistics == 'shared')

    def average(self) -> None:
        """Add the current weights of both models to their averages, if there are any; call it after every step."""
        if self.averages is not None:
            if self.active == 'motivated' or self.motivation.transfers_statistics:
                self.transfer()  # what an inactive motivated model shares, the averages take from the base model
            self.averages.update()

    def scored(self) -> dict[str, BaseModel]:
        """Return what an evaluation scores, by name: both models and, with ``ema``, their averages (``'base/ema'``)."""
        averaged = self.averages.models if self.averages is not None else {}
        return {'base': self.base, 'motivated': self.motivated, **averaged}

    def val_step(self, data: Any, models: Sequence[str] = MODEL_NAMES) -> dict[str, Any]:
        """Return the predictions of both models for one batch; call :meth:`transfer` before the first.

        Args:
            data: A batch as each model's ``val_step`` takes it.
            models: Names of those that predict, of :meth:`scored`. Default: both models, without averages.

        Returns:
            The result of each one's ``val_step``, by name.
        """
        scored = self.scored()
        with uncompiled(self.base, self.motivated), autocast(self.precision, self.base):
            return {name: scored[name].val_step(data) for name in models}

    test_step = val_step

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the active model's ``forward``."""
        return getattr(self, self.active)(*args, **kwargs)

    def get_extra_state(self) -> Tensor:
        """Return, as a tensor, whether the motivated model is active and whether it ever was."""
        return torch.tensor([self.active == 'motivated', self.motivation.was_woken])

    def set_extra_state(self, state: Tensor) -> None:
        """Restore what :meth:`get_extra_state` returned."""
        motivated, self.motivation.was_woken = state.tolist()
        self.motivation.active = 'motivated' if motivated else 'base'


def _checksum(model: nn.Module) -> float:
    return sum(float(parameter.detach().double().sum()) for parameter in model.parameters())
