"""The loss of each image of real runs, compared with the image's own loss an epoch before."""

import json
import math
from statistics import fmean

import pytest
import torch
from mmengine.hooks import Hook

from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.hooks import MotivationHook
from motivation.policies import SwitchPolicy
from motivation.registry import POLICIES
from motivation.utils.checkpoint import read_checkpoint
from tests.conftest import ROOT, tiny_config, train
from tests.engine.forked_processes import two_forks
from tests.engine.resuming_runs import Stop
from tests.small import BARE, few_digits

ASKING = {**BARE, **few_digits(96), 'motivation.policy': dict(_delete_=True, type='RecordsProgress')}
CONDITION = {
    **BARE,
    **few_digits(80),
    'motivation.policy': dict(_delete_=True, type='LearningProgress', drops=1, window=3),
}


@POLICIES.register_module(force=True)
class RecordsProgress(SwitchPolicy):
    """Alternates, and records the progress."""

    def __init__(self):
        self.seen = []

    def update(self, loss, sample_progress):
        self.seen.append(sample_progress)
        return len(self.seen) % 2 == 1


class Witness(Hook):
    """Computes the loss of each image from the logits of the active model, in double precision, and its progress."""

    def __init__(self, smoothing=0.0):
        self.smoothing, self.last, self.progress = smoothing, {}, []

    def before_train(self, runner):
        for name in ('base', 'motivated'):
            getattr(runner.model, name).backbone.register_forward_hook(
                lambda *call: self.logits.append(call[2].detach())
            )

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.logits = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        logs = torch.cat(self.logits)[: len(data_batch['targets'])].double().log_softmax(1)
        own = -logs[range(len(logs)), data_batch['targets']]
        losses = ((1 - self.smoothing) * own - self.smoothing * logs.mean(1)).tolist()
        assert fmean(losses) == pytest.approx(outputs['loss'], rel=1e-5)
        decreases = [self.last[i] - loss for i, loss in zip(data_batch.indices, losses, strict=True) if i in self.last]
        self.progress.append(fmean(decreases) if decreases else None)
        self.last |= dict(zip(data_batch.indices, losses, strict=True))


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'optim_wrapper.accumulate': 3, 'model.base.label_smoothing': 0.1, 'model.motivated.label_smoothing': 0.1},
        {'train_dataloader.type': 'DeviceDataLoader', 'model.distillation': dict(weight=0.5)},
        {'compile': dict(backend='eager')},
    ],
    ids=['plain', 'micro-batches', 'device-distilled', 'compiled'],
)
def test_progress_is_the_mean_decrease_of_each_images_own_loss(tmp_path, options):
    runner = DualModelRunner.from_cfg(tiny_config(tmp_path / 'run', 2, **{**ASKING, **options}))
    witness = Witness(options.get('model.base.label_smoothing', 0.0))
    runner.register_hook(witness)
    runner.train()
    seen = runner.find_hook(MotivationHook).policy.seen
    assert seen[:6] == [None] * 6 == witness.progress[:6]
    assert seen[6:] == pytest.approx(witness.progress[6:], abs=1e-5)
    history = runner.checkpointer.parts['sample_history'].losses
    assert len(history) == len(witness.last) == 96
    assert history.tolist() == pytest.approx([witness.last[index] for index in range(96)], rel=1e-4, abs=1e-5)


def test_run_of_the_condition_resumes_bit_for_bit_within_an_epoch(tmp_path):
    options = {**CONDITION, 'default_hooks.checkpoint.every_iters': 4, 'train_dataloader.num_batch_per_epoch': 5}
    whole = train(tiny_config(tmp_path / 'whole', 3, **options))
    stopped = DualModelRunner.from_cfg(tiny_config(tmp_path / 'run', 3, **options))
    stopped.register_hook(Stop(12))
    with pytest.raises(InterruptedError):
        stopped.train()
    config = tiny_config(tmp_path / 'run', 3, **options)
    config.resume = True
    resumed = train(config)
    decisions = list(whole.find_hook(MotivationHook).trace.decisions)
    assert 0 < sum(decisions) < 15 and not any(decisions[:8])
    ends = [read_checkpoint(tmp_path / name / 'epoch_3.pth') for name in ('whole', 'run')]
    assert ends[0]['sample_history']['losses'].element_size() == 4
    for part in ('sample_history', 'policy', 'switch_trace', 'state_dict'):
        assert str(ends[0][part]) == str(ends[1][part])
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True))


def test_processes_share_what_they_see_and_resume_bit_for_bit(tmp_path):
    """Samples move from one process to the other between epochs."""
    two_forks(ROOT / 'tests/hooks/learning_runs.py', tmp_path)
    first, second = (json.loads((tmp_path / f'{rank}.json').read_text()) for rank in '01')
    assert first['whole'] == second['whole'] == first['resumed'] == second['resumed']
    ours, theirs = (
        [{index for batch in said['own'][begin : begin + 3] for index in batch} for begin in (0, 3)]
        for said in (first, second)
    )
    assert ours[0] & theirs[1]
    last, expected = {}, []
    for ours, theirs in zip(*(zip(said['own'], said['losses'], strict=True) for said in (first, second)), strict=True):
        batch = [*zip(*ours, strict=True), *zip(*theirs, strict=True)]
        decreases = [last[index] - loss for index, loss in batch if index in last]
        expected.append(fmean(decreases) if decreases else None)
        last |= dict(batch)
    assert expected[:2] == first['progress'][:2] == [None, None] and not any(map(math.isnan, expected[3:]))
    assert first['progress'][3:] == pytest.approx(expected[3:], abs=1e-6)


def test_check_of_a_run_measures_what_its_policy_asks_for(tmp_path):
    """The passes that ``--check`` makes before, to count compute and to try the data, are not watched."""
    asked = [
        dict(type='HeldInDrop', every=1, images=96),
        dict(type='GradientAgreement', above=0),
        dict(type='LearningProgress'),
    ]
    options = {'motivation.policy': dict(_delete_=True, type='All', policies=asked)}
    train(tiny_config(tmp_path / 'run', 1, meter=True, **{**BARE, **options, 'train_cfg.type': 'CheckLoop'}))


def test_mixed_images_and_batches_without_indices_are_refused(tmp_path):
    mixing = {f'model.{name}.mixup': dict(mixup_alpha=0.2) for name in ('base', 'motivated')}
    with pytest.raises(ConfigError, match=r"asks for 'sample_progress', and model\.base\.mixup trains on mixtures"):
        train(tiny_config(tmp_path / 'mixed', 1, **ASKING, **mixing))
    anonymous = {'train_dataloader.collate_fn': dict(type='default_collate')}
    with pytest.raises(ConfigError, match='batches that do not say which samples they hold'):
        train(tiny_config(tmp_path / 'anonymous', 1, **ASKING, **anonymous))
