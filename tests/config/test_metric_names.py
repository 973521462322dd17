"""Metric names in a config are checked before the first batch."""

import pytest
import torch
from mmengine.evaluator import BaseMetric

from motivation.config.metric_names import named_metrics
from motivation.config.read import load_config
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.registry import METRICS
from motivation.utils.checkpoint import find_checkpoints
from tests.conftest import DIGITS, train
from tests.small import small_config

PLATEAU = dict(type='ReduceOnPlateauLR', rule='greater')
STOP = dict(type='EarlyStoppingHook', rule='greater')
GAIN = dict(_delete_=True, type='Not', policy=dict(type='ValidationGain', metric='base/accuracy/top3'))


@METRICS.register_module(force=True)
class ByClass(BaseMetric):
    """Reports one metric per class in the data; a single image has one class."""

    default_prefix = 'by_class'

    def process(self, data_batch, data_samples):
        self.results += [int(sample['target']) for sample in data_samples]

    def compute_metrics(self, results):
        return {f'class_{label}': 1.0 for label in set(results)}


@METRICS.register_module(force=True)
class NeedsTwo(ByClass):
    default_prefix = 'two'

    def compute_metrics(self, results):
        return {'first': results[0], 'second': results[1]}


def build(tmp_path, param_scheduler=(), **options):
    config = small_config(tmp_path, 2, **options)
    config.param_scheduler = param_scheduler
    runner = DualModelRunner.from_cfg(config)
    state = torch.get_rng_state()
    runner.train_loop, runner.val_loop  # noqa: B018, builds and checks them
    assert torch.equal(state, torch.get_rng_state())
    for evaluator in runner.val_loop.evaluators.values():
        assert all(metric.results == [] for metric in evaluator.metrics)
    return runner


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            {'param_scheduler': [dict(PLATEAU, monitor='accuracy/top1')]},
            r"^param_scheduler\.0\.monitor is 'accuracy/top1', which validation does not report; did you mean 'base/acc",
        ),
        (
            {'param_scheduler': dict(base=[PLATEAU], motivated=[])},
            r"^param_scheduler\.base\.0\.monitor is 'loss', which",
        ),
        (
            {'custom_hooks': [dict(STOP, monitor='base/acc/top1')]},
            r"^custom_hooks\.0\.monitor is .*'base/accuracy/top1'",
        ),
        ({'custom_hooks': [dict(STOP, monitor='bse/accuracy', patience=1)]}, r'^custom_hooks\.0\.monitor is '),
        (
            {'default_hooks.export.save_best': 'accuracy/top2'},
            r"^default_hooks\.export\.save_best is .*'accuracy/top1'",
        ),
        (
            {'default_hooks.export.save_best': 'ema/accuracy/top1', 'model.ema.decay': 0.9},
            r"^default_hooks\.export\.save_best is 'ema/accuracy/top1', which names what is scored, .* write 'accuracy/top1'$",
        ),
        (
            {'default_hooks.export.save_best': 'base/ema/accuracy/top1'},
            r"^default_hooks\.export\.save_best is .*: write 'accuracy/top1'$",
        ),
        (
            {'custom_hooks': [dict(STOP, monitor='base/ema/accuracy/top1')]},
            r"^custom_hooks\.0\.monitor is .*: write model\.ema=dict\(decay=0\.999\), or name 'base/accuracy/top1'$",
        ),
        (
            {'motivation.policy': dict(_delete_=True, type='ValidationGain', metric='motivated/ema/accuracy/top1')},
            r"^motivation\.policy\.metric is .*: write model\.ema=.*, or name 'motivated/accuracy/top1'$",
        ),
        ({'motivation.policy': GAIN}, r"^motivation\.policy\.policy\.metric is 'base/accuracy/top3', which"),
        (
            {'val_cfg.models': ['base'], 'custom_hooks': [dict(STOP, monitor='motivated/accuracy/top1')]},
            r'^custom_hooks\.0\.monitor is .*, which needs the motivated model, which val_cfg\.models leaves out; add it',
        ),
        (
            {'param_scheduler': [dict(type='ReduceOnPlateauLR', monitor='base/accuracy/top1')]},
            r"^param_scheduler\.0\.rule is 'less', and higher values of base/accuracy/top1 are better; write rule='greater'$",
        ),
        (
            {
                'val_evaluator': [dict(type='CrossEntropy')],
                'custom_hooks': [dict(STOP, monitor='base/loss/cross_entropy')],
            },
            r"^custom_hooks\.0\.rule is 'greater', and lower values of base/loss/cross_entropy are better; write rule='less'$",
        ),
        (
            {'val_evaluator': [dict(type='Accuracy', topk=[1]), dict(type='Accuracy')]},
            r'^val_evaluator\.1 reports accuracy/top1, as val_evaluator\.0 does; leave one out',
        ),
        (
            {'val_evaluator': [dict(type='Accuracy'), dict(type='TorchMetric', metric='Recall', top_k=11)]},
            r'^val_evaluator\.1\.top_k must be from 1 to 10, the number of classes, got 11$',
        ),
        (
            {'val_evaluator': [dict(type='TorchMetric', metric='CoverageError')]},
            r"^val_evaluator\.metric is 'CoverageError', which torchmetrics does not have for one class an image",
        ),
        (
            {'val_evaluator': [dict(type='ByClass')], 'custom_hooks': [dict(STOP, monitor='by_class/class_1')]},
            r'^custom_hooks\.0\.monitor is .*did you mean',
        ),
        (
            {
                **{f'val_{part}': None for part in ('cfg', 'dataloader', 'evaluator')},
                'custom_hooks': [dict(STOP, monitor='base/accuracy/top1')],
            },
            r'^custom_hooks\.0\.monitor is .*, a metric of validation, and this run has none; ',
        ),
    ],
)
def test_unknown_metrics_raise_before_the_first_batch(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build(tmp_path, **options)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    'options',
    [
        {'param_scheduler': [dict(PLATEAU, monitor='motivated/accuracy/top5')]},
        {'custom_hooks': [dict(STOP, monitor='base/accuracy/top1')]},
        {'default_hooks.export.save_best': 'accuracy/top5'},
        {
            'val_evaluator': [dict(type='TorchMetric', metric='F1Score', per_class=True)],
            'default_hooks.export.save_best': 'f1/macro',
            'custom_hooks': [dict(STOP, monitor='base/f1/class/7')],
        },
        # Not known from a single image.
        {'val_evaluator': [dict(type='ByClass')], 'custom_hooks': [dict(STOP, monitor='base/by_class/class_9')]},
        {'val_evaluator': [dict(type='NeedsTwo')], 'custom_hooks': [dict(STOP, monitor='base/two/second')]},
    ],
)
def test_valid_and_possibly_valid_metrics_pass(tmp_path, options):
    build(tmp_path, **options)


def test_metric_unknown_to_the_first_validation_raises_after_the_epoch_is_saved(tmp_path):
    """With a valid name the run resumes."""
    hooks = [dict(STOP, monitor='base/ema/by_class/class_10', patience=9)]
    options = {
        'model.ema.decay': 0.9,
        'val_evaluator': [dict(type='ByClass')],
        'train_dataloader.num_batch_per_epoch': 2,
    }
    config = small_config(tmp_path, 2, **options)
    config.custom_hooks = hooks
    with pytest.raises(
        ConfigError, match=r"^custom_hooks\.0\.monitor is 'base/ema/by_class/class_10', which validation does"
    ):
        train(config)
    (checkpoint,) = find_checkpoints(tmp_path)
    config = small_config(tmp_path, 2, **options)
    config.custom_hooks = [dict(hooks[0], monitor='base/ema/by_class/class_9')]
    config.resume, config.load_from = True, str(checkpoint)
    resumed = train(config)
    whole = small_config(tmp_path / 'whole', 2, **options)
    expected = train(whole).model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in resumed.model.state_dict().items())


def test_every_field_that_names_a_metric_is_found():
    config = load_config(DIGITS, {'param_scheduler': [PLATEAU, dict(type='CosineAnnealingLR', T_max=3)]})
    assert [(name.field, name.name) for name in named_metrics(config._cfg_dict.to_dict())] == [
        ('param_scheduler.0.monitor', 'loss')
    ]
