"""A script for ``test_sample_progress.py``: one of two processes of a run, and of the same run stopped and resumed."""

import json
import sys
from pathlib import Path

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from torch.nn import functional as F

from motivation.engine.runner import DualModelRunner
from motivation.hooks import MotivationHook
from motivation.utils.distributed import join_processes
from tests.conftest import tiny_config
from tests.engine.resuming_runs import Stop
from tests.small import BARE, few_digits

POLICY = dict(
    _delete_=True,
    type='Any',
    policies=[
        dict(type='LearningProgress', drops=1, window=2),
        dict(type='GradientAgreement', quantile=0.5, window=1),
        dict(type='HeldInDrop', drops=1, every=2, images=9),
    ],
)
OPTIONS = {
    'motivation.policy': POLICY,
    'default_hooks.checkpoint.every_iters': 2,
    'train_dataloader.num_batch_per_epoch': 3,
    'train_dataloader.batch_size': 8,
    **BARE,
    **few_digits(48),
}
EPOCHS = 2


class Witness(Hook):
    """Records the samples of this process, with their losses, and the progress that the policy receives."""

    def __init__(self) -> None:
        self.own: list[list[int]] = []
        self.losses: list[list[float]] = []
        self.progress: list[float | None] = []

    def before_train(self, runner) -> None:
        for name in ('base', 'motivated'):
            getattr(runner.model, name).backbone.register_forward_hook(self._keep)
        policy = runner.find_hook(MotivationHook).policy.policies[0]
        update = policy.update

        def recorded(loss, sample_progress):
            self.progress.append(sample_progress)
            return update(loss, sample_progress)

        policy.update = recorded

    def _keep(self, module, inputs, logits) -> None:
        if torch.is_grad_enabled():
            self.logits = logits.detach()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.own.append(list(data_batch.indices))
        self.losses.append(F.cross_entropy(self.logits, data_batch['targets'], reduction='none').tolist())


def train(folder, resume=False, hook=None):
    config = tiny_config(folder, EPOCHS, **OPTIONS)
    config.resume = resume
    runner = DualModelRunner.from_cfg(config)
    if hook is not None:
        runner.register_hook(hook)
    runner.train()
    runner.model.transfer()  # saving a checkpoint has made both models current in the first process alone
    return {
        'losses': list(runner.find_hook(MotivationHook).trace.losses),
        'decisions': list(runner.find_hook(MotivationHook).trace.decisions),
        'history': runner.checkpointer.parts['sample_history'].losses.tolist(),
        'weights': [float(value.double().sum()) for value in runner.model.parameters()],
    }


def main() -> None:
    folder, witness = Path(sys.argv[1]), Witness()
    join_processes()
    result = {'whole': train(folder / 'whole', hook=witness)}
    result |= {'own': witness.own, 'losses': witness.losses, 'progress': witness.progress}
    try:
        train(folder / 'stopped', hook=Stop(5))
    except InterruptedError:
        result['resumed'] = train(folder / 'stopped', resume=True)
    (folder / f'{get_rank()}.json').write_text(json.dumps(result))


if __name__ == '__main__':
    main()
