"""Handling of non-finite losses and weights."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError, TrainingError
from motivation.hooks import ComputeMeterHook, MotivationHook
from motivation.utils.checkpoint import find_checkpoints, read_checkpoint
from tests.conftest import snapshot
from tests.engine.stopped_runs import At, StopError, config, stop, train


class SpoilLoss(Hook):
    """Makes the loss of some batches of a model non-finite."""

    def __init__(self, model, batches, value=math.nan, below_rate=None):
        self.model, self.batches, self.value, self.below_rate = model, batches, value, below_rate

    def before_train(self, runner):
        getattr(runner.model, self.model).loss.register_forward_hook(
            lambda module, inputs, loss: self.spoil(runner, loss)
        )

    def spoil(self, runner, loss):
        rate = runner.optim_wrapper[self.model].get_lr()['lr'][0]
        if runner.iter in self.batches and (self.below_rate is None or rate > self.below_rate):
            return loss * self.value
        return loss


ALWAYS = {'motivation.policy': dict(_delete_=True, type='Always')}
NEVER = {'motivation.policy': dict(_delete_=True, type='Never')}


@pytest.mark.parametrize(('model', 'options'), [('base', NEVER), ('motivated', ALWAYS)])
@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_non_finite_loss_stops_training_without_saving(tmp_path, model, options, value):
    with pytest.raises(TrainingError) as stopped:
        train(config(tmp_path, every_iters=4, **options), SpoilLoss(model, {8}, value))
    said = str(stopped.value)
    assert f'the loss of the {model} model is {value} at batch 3 of epoch 2 (iteration 9), learning rate 0.' in said
    assert 'last good losses' in said and "train_cfg.on_bad_loss='skip'" in said
    newest = find_checkpoints(tmp_path)[-1]
    assert f"; the newest checkpoint is '{newest}': lower" in said
    assert newest.name == 'epoch_1_iter_8.pth'
    assert all(tensor.isfinite().all() for tensor in read_checkpoint(newest)['state_dict'].values())


@pytest.mark.parametrize(('model', 'options'), [('base', NEVER), ('motivated', ALWAYS)])
def test_skipped_batch_is_counted_and_not_passed_to_the_policy(tmp_path, capsys, model, options):
    seen, states = [], {}

    class Look(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            states['before'] = snapshot(runner.model)

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter == 8:
                states['skipped'] = states['before'], snapshot(runner.model)

    options = {'meter': True, 'train_cfg.on_bad_loss': 'skip', **options}
    runner = DualModelRunner.from_cfg(config(tmp_path, every_iters=None, **options))
    policy = runner.find_hook(MotivationHook).policy
    update = policy.update
    policy.update = lambda loss, **signals: seen.append(loss) or update(loss, **signals)
    for hook in (SpoilLoss(model, {8, 10}), Look()):
        runner.register_hook(hook)
    runner.train()
    assert len(seen) == 16 and all(map(math.isfinite, seen))
    before, after = states['skipped']
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())  # statistics, too
    assert 'the batch is skipped' in capsys.readouterr().out
    report = json.loads((tmp_path / 'report.json').read_text())
    assert report['skipped_iters'] == 2
    meter, macs = runner.find_hook(ComputeMeterHook).meter, runner.find_hook(ComputeMeterHook).meter.macs[model]
    assert sum(work.iters for work in meter.trained.values()) == 16 and meter.skipped[model].images == 2 * 16
    assert meter.forward_flops(model) == macs.step.forward.flops(0, meter.trained[model].images + 2 * 16)
    assert meter.backward_flops(model) == macs.step.backward.flops(0, meter.trained[model].images + 2 * 16)
    assert [math.isfinite(loss) for loss in runner.find_hook(MotivationHook).trace.losses].count(False) == 2


@pytest.mark.parametrize('statistics', ['private', 'shared'])
def test_bad_distillation_loss_skips_the_step_of_the_base_model_only(tmp_path, statistics):
    """The motivated model ends the batch as without distillation, statistics included, and the base model has its image."""
    bad, states, averaged = 4, {}, {}

    class Look(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter == bad:
                states[runner.model.distillation is not None] = snapshot(runner.model)
                averaged['steps'] = runner.model.averages.steps

    options = {'model.statistics': statistics, 'param_scheduler': [], 'train_cfg.on_bad_loss': 'skip', **ALWAYS}
    options |= {'model.ema.decay': 0.5}
    teach = {'model.distillation': dict(weight=0.5)}
    built = config(tmp_path / 'with', epochs=1, every_iters=None, meter=True, **options, **teach)
    runner = train(built, SpoilLoss('base', set(range(1, 6))), Look())
    train(config(tmp_path / 'without', epochs=1, every_iters=None, **options), Look())
    trace = runner.find_hook(MotivationHook).trace
    assert all(map(math.isfinite, trace.losses)) and runner.train_loop.skipped == 5 and averaged['steps'] == bad + 1
    meter = runner.find_hook(ComputeMeterHook).meter
    assert meter.trained['motivated'].iters == 5 == meter.distilled.iters and not meter.skipped['motivated'].iters
    ours, theirs = states[True], states[False]
    for name, tensor in theirs.items():
        if name.startswith('motivated.'):
            assert torch.equal(tensor, ours[name]), name
    weight_map = runner.model.weight_map
    for pair in weight_map.pairs:
        if all(positions is None for positions in pair.index) and (statistics == 'shared' or not pair.is_statistic):
            ours_of_base = ours[f'base.{pair.base}']
            assert torch.equal(ours_of_base, ours[f'motivated.{pair.motivated}']), pair.base
    assert all(tensor.isfinite().all() for tensor in ours.values())


def test_too_many_skipped_distillation_steps_in_a_row_raise(tmp_path):
    options = {'model.distillation': dict(weight=0.5), 'train_cfg.on_bad_loss': 'skip', **ALWAYS}
    with pytest.raises(TrainingError, match=r'the loss of the base model is nan .* for the 11th batch in a row'):
        train(config(tmp_path, every_iters=None, **options), SpoilLoss('base', range(3, 18)))


def test_too_many_skips_in_a_row_raise(tmp_path):
    with pytest.raises(TrainingError, match='for the 11th batch in a row: the weights will not recover'):
        train(config(tmp_path, every_iters=None, **{'train_cfg.on_bad_loss': 'skip'}), SpoilLoss('base', range(3, 18)))


def test_rollback_restores_the_newest_checkpoint_with_half_the_learning_rate(tmp_path, capsys):
    """The loss is non-finite at batch 9 until the learning rate is below a third of its value."""
    options = {'train_cfg.on_bad_loss': 'rollback', 'param_scheduler': [], **ALWAYS}
    spoil = SpoilLoss('motivated', {9}, below_rate=0.03)
    runner = train(config(tmp_path, every_iters=4, **{'optim_wrapper.optimizer.lr': 0.1}, **options), spoil)
    said = capsys.readouterr().out
    assert said.count("back to 'epoch_1_iter_8.pth', with 0.5 of the learning rate") == 2
    rates = {name: wrapper.get_lr()['lr'][0] for name, wrapper in runner.optim_wrapper.items()}
    assert rates == {'base': 0.025, 'motivated': 0.025}
    assert json.loads((tmp_path / 'report.json').read_text())['rollbacks'] == 2
    assert len(runner.find_hook(MotivationHook).trace) == 18  # every batch once
    (logs,) = tmp_path.glob('*/vis_data')
    lines = [json.loads(line) for line in (logs / 'scalars.json').read_text().splitlines()]
    assert [line['step'] for line in lines if 'loss' in line] == list(range(1, 19))
    curve = EventAccumulator(str(logs)).Reload().Scalars('loss')
    assert [event.step for event in curve] == list(range(1, 19))


@pytest.mark.parametrize(
    ('batches', 'every_iters', 'message'),
    [({2}, None, 'there is no checkpoint to go back to'), ({9}, 4, '5 rollbacks did not help')],
)
def test_rollback_that_does_not_help_raises(tmp_path, batches, every_iters, message):
    with pytest.raises(TrainingError, match=f'{message}: begin with a lower'):
        train(
            config(tmp_path, every_iters=every_iters, **{'train_cfg.on_bad_loss': 'rollback'}),
            SpoilLoss('base', batches),
            SpoilLoss('motivated', batches),
        )


def test_check_names_the_model_whose_loss_is_non_finite(tmp_path):
    built = config(tmp_path)
    built.train_cfg.type = 'CheckLoop'
    with pytest.raises(
        TrainingError, match=r'the loss of the motivated model is nan on the first batch; look at model\.m'
    ):
        train(built, SpoilLoss('motivated', {0}))


def test_last_finite_losses_include_those_before_a_resume(tmp_path):
    first = DualModelRunner.from_cfg(config(tmp_path, every_iters=4, epochs=2))
    first.register_hook(At('before_train_iter', 8, stop))
    with pytest.raises(StopError):
        first.train()
    with pytest.raises(TrainingError) as stopped:
        train(config(tmp_path, resume=True, epochs=2), SpoilLoss('base', {8}), SpoilLoss('motivated', {8}))
    losses = list(first.find_hook(MotivationHook).trace.losses)
    last = ', '.join(f'{loss:.4g}' for loss in losses[5:8])
    assert '(iteration 9), learning rate 0.' in str(stopped.value) and f'last good losses {last};' in str(stopped.value)


class SpoilGradient(Hook):
    """Makes the gradient of one batch non-finite, once, with a finite loss.

    It must not do so again after a rollback, which restores attributes of plain data.
    """

    def __init__(self, batch):
        self._left = SimpleNamespace(batch=batch)

    def before_train(self, runner):
        weight = runner.model.base.backbone.fc.weight
        weight.register_hook(lambda gradient: gradient * (math.nan if self._is_due(runner) else 1))

    def _is_due(self, runner):
        due = runner.iter == self._left.batch
        self._left.batch = None if due else self._left.batch
        return due


@pytest.mark.parametrize(('batch', 'kept'), [(5, 'epoch_0_iter_4.pth'), (11, 'epoch_1_iter_8.pth'), (7, 'epoch_1.pth')])
def test_non_finite_weights_are_never_saved(tmp_path, batch, kept):
    """At the end of an epoch, at the end of the run, and where a checkpoint within an epoch is due."""
    with pytest.raises(TrainingError) as stopped:
        train(config(tmp_path, every_iters=4, epochs=2), SpoilGradient(batch))
    said = str(stopped.value)
    assert (
        f'weights of the base model are NaN or infinite, after a step with a non-finite gradient, by batch {batch % 6 + 1} of'
        in said
    )
    assert said.endswith("train_cfg.on_bad_loss='rollback'")
    for path in find_checkpoints(tmp_path):
        assert all(tensor.isfinite().all() for tensor in read_checkpoint(path)['state_dict'].values())
    assert find_checkpoints(tmp_path)[-1].name == kept
    assert not (tmp_path / 'base.pth').exists()


def test_rollback_undoes_a_step_to_non_finite_weights(tmp_path, capsys):
    options = {'train_cfg.on_bad_loss': 'rollback', 'param_scheduler': []}
    runner = train(config(tmp_path, every_iters=4, **options), SpoilGradient(17))
    assert "back to 'epoch_2_iter_16.pth', with 0.5 of the learning rate" in capsys.readouterr().out
    assert all(tensor.isfinite().all() for tensor in runner.model.state_dict().values())
    assert len(runner.find_hook(MotivationHook).trace) == 18


def test_unknown_on_bad_loss_raises(tmp_path):
    with pytest.raises(
        ConfigError, match=r"^train_cfg\.on_bad_loss must be 'stop', 'skip' or 'rollback', got 'ignore'$"
    ):
        train(config(tmp_path, **{'train_cfg.on_bad_loss': 'ignore'}))
