"""The exported weights are the evaluated ones, whatever changes weights around validation."""

from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from motivation.engine.runner import DualModelRunner
from motivation.export.exported_model import load_exported
from motivation.hooks.export_hook import ExportHook
from motivation.registry import HOOKS
from motivation.structures import MODEL_NAMES
from motivation.utils.checkpoint import find_checkpoints, read_checkpoint
from tests.conftest import snapshot, train
from tests.small import small_config


@HOOKS.register_module(force=True)
class Doubled(Hook):
    """Doubles the weights for validation, and undoes it at a given hook point."""

    priority = 'VERY_HIGH'  # after validation, before anything else

    def __init__(self, undone='after_val_epoch'):
        for stage in ('val', 'test'):
            point = undone.replace('val', stage)
            setattr(self, point.replace('after', 'before'), lambda runner, **_: self.scale(runner, 2.0))
            setattr(self, point, lambda runner, **_: self.scale(runner, 0.5))

    def scale(self, runner, factor):
        for name in MODEL_NAMES:
            getattr(runner.model, name).backbone.fc.weight.data.mul_(factor)


class Predictions(Hook):
    """Records logits and metrics of each validation."""

    def __init__(self):
        self.logits, self.metrics = [], []

    def before_val_epoch(self, runner):
        self.logits.append({name: [] for name in runner.model.scored()})

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        for name in outputs:
            self.logits[-1][name] += [row['logits'] for row in outputs[name]]

    def after_val_epoch(self, runner, metrics=None):
        self.metrics.append(metrics)


def run(config):
    seen, runner = Predictions(), DualModelRunner.from_cfg(config)
    runner.register_hook(seen)
    runner.train()
    return seen, runner


def predictions(runner, path):
    """Return the logits of an exported model and its accuracy in percent."""
    model = load_exported(path)
    batches = list(runner.val_dataloader)
    with torch.no_grad():
        logits = torch.cat([model(model.data_preprocessor(batch)['inputs']) for batch in batches])
    targets = torch.cat([batch['targets'] for batch in batches])
    return logits, 100 * (logits.argmax(1) == targets).double().mean().item()


def export_config(work_dir, epochs=1, **options):
    return small_config(work_dir, epochs, **{'train_dataloader.num_batch_per_epoch': 3, **options})


AVERAGES = {'model.ema.decay': 0.7}


@pytest.mark.parametrize(
    ('hooks', 'options'),
    [
        ([], {}),
        ([], {'model.recalibrate': 64}),
        ([], AVERAGES),
        ([], {**AVERAGES, 'model.recalibrate': 64, 'model.statistics': 'shared'}),
        ([dict(type='Doubled', undone='after_val_iter')], {}),
        ([dict(type='Doubled', undone='after_val')], {}),
    ],
)
def test_evaluated_weights_are_exported_also_by_a_resumed_run(tmp_path, hooks, options):
    config = export_config('run', 2, **{'default_hooks.export.save_best': 'accuracy/top1', **options})
    config.custom_hooks = hooks
    seen, runner = run(config)
    scored = {name: name.replace('/', '_') for name in runner.model.scored()}
    assert len(scored) == (4 if AVERAGES.items() <= options.items() else 2)
    for name, file in scored.items():
        accuracies = [metrics[f'{name}/accuracy/top1'] for metrics in seen.metrics]
        best = accuracies.index(max(accuracies))
        for path, epoch in ((f'run/{file}.pth', 1), (f'run/best_{file}.pth', best)):
            logits, accuracy = predictions(runner, path)
            assert torch.equal(logits, torch.stack(seen.logits[epoch][name])), path
            assert accuracy == pytest.approx(accuracies[epoch])
    config = export_config('test', 2, **options)  # and what the checkpoint is tested as
    config.custom_hooks, config.load_from = hooks, 'run/epoch_2.pth'
    assert DualModelRunner.from_cfg(config).test() == seen.metrics[-1]
    written = {file: load_exported(f'run/{file}.pth').state_dict() for file in scored.values()}
    for file in scored.values():
        Path(f'run/{file}.pth').unlink()
    config = export_config('run', 2, **{'default_hooks.export.save_best': 'accuracy/top1', **options})
    config.custom_hooks, config.resume = hooks, True
    train(config)
    for file, before in written.items():
        after = load_exported(f'run/{file}.pth').state_dict()
        assert all(torch.equal(tensor, before[key]) for key, tensor in after.items())


@pytest.mark.parametrize(('metric', 'best'), [('accuracy/top1', [1, 3]), ('loss/cross_entropy', [1, 2])])
def test_best_of_an_accuracy_is_the_highest_and_of_a_loss_the_lowest(metric, best):
    hook, found = ExportHook(metric), []
    for place, score in enumerate((0.5, 0.4, 0.6), 1):
        if hook._is_best('base', score):
            hook._best['base'] = score
            found.append(place)
    assert found == best


def test_checkpoint_holds_only_evaluated_tensors_that_differ():
    for hooks, expected in (([], 0), ([dict(type='Doubled')], 1)):
        config = export_config(f'run{expected}')
        config.custom_hooks = hooks
        train(config)
        scored = read_checkpoint(find_checkpoints(Path(f'run{expected}'))[-1])['export']['scored']
        assert [len(scored[name]) for name in MODEL_NAMES] == [expected] * 2


def test_averages_are_exported_without_validation():
    config = export_config('run', 1, **AVERAGES)
    config.val_dataloader = config.val_cfg = config.val_evaluator = None
    runner = train(config)
    for name, model in runner.model.scored().items():
        exported = load_exported(f'run/{name.replace("/", "_")}.pth').state_dict()
        assert all(torch.equal(value, exported[key]) for key, value in model.state_dict().items())
    assert not torch.equal(exported['backbone.fc.weight'], runner.model.motivated.backbone.fc.weight)


def test_run_that_stops_early_is_validated_at_its_end():
    class StopAt(Hook):
        def after_train_epoch(self, runner):
            runner.train_loop.stop_training = runner.epoch == 1

    config = export_config('run', 5, **{'train_cfg.val_interval': 5})
    runner, seen = DualModelRunner.from_cfg(config), Predictions()
    runner.register_hook(StopAt())
    runner.register_hook(seen)
    runner.train()
    assert runner.epoch == 2 and len(seen.metrics) == 1


def test_interruption_within_validation_keeps_the_training_weights(monkeypatch):
    class Ask(Hook):
        def before_val_iter(self, runner, batch_idx, data_batch=None):
            monkeypatch.setattr(runner.interruption, 'asked', lambda: True)

    Ask.__module__ = 'motivation.tests'  # one that lets validation be broken off
    whole = export_config('whole')
    broken = export_config('broken')
    for config in (whole, broken):
        config.val_dataloader.update(batch_size=20, num_batch_per_epoch=2)
        config.custom_hooks = [dict(type='Doubled')]
    expected = train(whole)
    runner = DualModelRunner.from_cfg(broken)
    runner.register_hook(Ask())
    with pytest.raises(SystemExit):
        runner.train()
    assert all(
        torch.equal(a, b) for a, b in zip(*(snapshot(r.model).values() for r in (expected, runner)), strict=True)
    )
