"""Counts what training costs."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import default_collate

from motivation.analysis.compute_meter import ComputeMeter
from motivation.analysis.macs import measure_train_step
from motivation.models import MODEL_NAMES
from motivation.registry import HOOKS


@HOOKS.register_module()
class ComputeMeterHook(Hook):
    """Measures the training step of both models once and adds up what every batch costs.

    MACs are the multiply-accumulates of convolutions, linear layers, matrix products and attention;
    FLOPs = 2 x MACs. Validation is not counted. Logs ``train_flops``, the total so far, every step.

    Attributes:
        meter: The totals; set before training begins.

    Example:
        >>> default_hooks = dict(compute_meter=dict(type='ComputeMeterHook'))
    """

    priority = 'ABOVE_NORMAL'  # before the logger

    def __init__(self) -> None:
        self.meter: ComputeMeter
        self._resumed: dict[str, Any] | None = None

    def before_train(self, runner: Runner) -> None:
        sample = default_collate([runner.train_dataloader.dataset[0]])
        self.meter = ComputeMeter(
            {name: measure_train_step(getattr(runner.model, name), sample) for name in MODEL_NAMES}
        )
        if self._resumed is not None:
            self.meter.load_state_dict(self._resumed)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        assert outputs is not None
        images = len(data_batch['inputs'])
        self.meter.update('motivated' if outputs['motivated'] else 'base', images)
        if 'distillation_loss' in outputs:
            self.meter.update_distillation(images)
        runner.message_hub.update_scalar('train/train_flops', self.meter.total_train_flops)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        checkpoint['compute_meter'] = self.meter.state_dict()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if runner.resuming:
            self._resumed = checkpoint['compute_meter']
