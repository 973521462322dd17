"""A script for ``test_everything.py``: one process of a run with every feature of the engine.

Takes the work_dir, the number of batches after which a signal stops the run (0 for none), and writes the result of each
process next to the work_dir.
"""

import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from mmengine.dist import get_rank
from mmengine.hooks import Hook

from motivation.engine.runner import DualModelRunner
from motivation.hooks import ComputeMeterHook
from motivation.registry import HOOKS
from motivation.utils.distributed import join_processes
from motivation.utils.interruption import Interrupted
from tests.small import small_config

EVERYTHING = {
    'model.precision': 'bf16',
    'model.channels_last': True,
    'model.ema.decay': 0.9,
    'model.distillation.weight': 0.5,
    'model.base.loss': dict(type='CrossEntropyLoss', class_weights='auto'),
    'model.motivated.loss': dict(type='CrossEntropyLoss', class_weights='auto'),
    'model.base.mixup.mixup_alpha': 0.2,
    'model.motivated.mixup.mixup_alpha': 0.2,
    'optim_wrapper.accumulate': 2,
    'optim_wrapper.clip_grad.max_norm': 1.0,
    'compile.backend': 'eager',
    'motivation.policy': dict(_delete_=True, type='Periodic', on=1, off=2),
    'train_dataloader.type': 'DeviceDataLoader',
    'train_dataloader.sampler': dict(_delete_=True, type='BalancedSampler'),
    'train_dataloader.num_batch_per_epoch': 3,
    'train_dataloader.batch_size': 5,
    'val_dataloader.batch_size': 10,
}


@HOOKS.register_module(force=True)
class StopsAfter(Hook):
    """Sends its process a signal during a batch."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.batch and get_rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    work_dir, stop_after = Path(sys.argv[1]), int(sys.argv[2])
    join_processes()
    config = small_config(work_dir, 2, meter=True, **EVERYTHING)
    config.custom_hooks = [dict(type='StopsAfter', batch=stop_after)]
    config.resume = not stop_after and any(work_dir.glob('epoch_*.pth'))
    runner = DualModelRunner.from_cfg(config)
    status = 0
    try:
        runner.train()
    except Interrupted as stopped:
        status = stopped.code
    meter = runner.find_hook(ComputeMeterHook).meter
    totals = {'distilled': meter.distilled, **meter.trained}
    result = {
        'status': status,
        'weights': [float(value.double().sum()) for value in runner.model.parameters()],
        'totals': {name: {**asdict(work), 'seconds': None} for name, work in totals.items()},
        'macs': meter.macs,
    }
    Path(f'{work_dir}.{get_rank()}.json').write_text(json.dumps(result))


if __name__ == '__main__':
    main()
