"""Fields that are missing, misspelt or of the wrong type raise one sentence with the fix."""

import re

import pytest

from motivation.config.checks import check_config
from motivation.config.read import load_config
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.registry import RUNNERS
from tests.conftest import DIGITS
from tests.small import small_config


def refused(message, **options):
    with pytest.raises(ConfigError, match=message):
        check_config(load_config(DIGITS, options))


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        (
            'motivation.policy.type',
            'ConsecutivDrop',
            r"motivation\.policy\.type is 'ConsecutivDrop'.*mean 'ConsecutiveDrop'\?",
        ),
        ('model.weight_map.type', 'DeepMap', r"model\.weight_map\.type is 'DeepMap'.*'DepthMap'"),
        ('model.base.type', 'TimClassifier', r"model\.base\.type is 'TimClassifier'.*'TimmClassifier'"),
        ('train_dataloader.dataset.type', 'Digits', r"train_dataloader\.dataset\.type is 'Digits'.*'DigitsDataset'"),
        (
            'train_dataloader.dataset.transforms.0.type',
            'RandomCop',
            r"transforms\.0\.type is 'RandomCop'.*'RandomCrop'",
        ),
        ('val_evaluator.type', 'Acuracy', r"val_evaluator\.type is 'Acuracy'.*'Accuracy'"),
        ('optim_wrapper.optimizer.type', 'SDG', r"optim_wrapper\.optimizer\.type is 'SDG'"),
        (
            'param_scheduler.0.type',
            'CosineAnealingLR',
            r"param_scheduler\.0\.type is 'CosineAnealingLR'.*CosineAnnealingLR",
        ),
        (
            'default_hooks.progress.type',
            'ProgresHook',
            r"default_hooks\.progress\.type is 'ProgresHook'.*'ProgressHook'",
        ),
    ],
)
def test_unknown_names_come_with_near_matches(field, value, message):
    refused(message, **{field: value})


def test_misspelt_argument_of_a_component_comes_with_its_near_match():
    refused(
        r"motivation\.policy\.drop is not an argument of ConsecutiveDrop; did you mean 'drops'\?",
        **{'motivation.policy.drop': 3},
    )
    refused(r'model\.statistic is not an argument of DualModel', **{'model.statistic': 'shared'})
    refused(
        r"model\.weight_map\.plcement is not an argument of AutoMap; did you mean 'placement'",
        **{'model.weight_map': dict(_delete_=True, plcement='spread')},
    )


@pytest.mark.parametrize('field', ['model.base.model_name', 'model.motivated', 'train_dataloader.dataset.split'])
def test_missing_argument_is_named(field):
    config = load_config(DIGITS)
    parent, _, name = field.rpartition('.')
    node = config
    for key in parent.split('.'):
        node = node[key]
    node.pop(name)
    with pytest.raises(ConfigError, match=f'^{field} is missing; '):
        check_config(config)


@pytest.mark.parametrize('field', ['model', 'motivation', 'train_dataloader', 'train_cfg', 'optim_wrapper'])
def test_missing_part_is_named(field):
    config = load_config(DIGITS)
    config.pop(field)
    with pytest.raises(ConfigError, match=f"the config has no '{field}'"):
        check_config(config)


def test_missing_policy_is_named():
    config = load_config(DIGITS)
    config.motivation = dict(gate=config.motivation.policy)
    with pytest.raises(ConfigError, match="motivation has no 'policy'; write motivation = dict"):
        check_config(config)


def test_policy_that_is_not_a_component_raises_with_an_example():
    config = load_config(DIGITS, {'motivation.policy': 'Never'})
    with pytest.raises(ConfigError, match=r"motivation\.policy is 'Never'; write policy=dict\(type=\.\.\.\)"):
        check_config(config)


@pytest.mark.parametrize('field', ['train_cfg.max_epochs', 'train_cfg.val_interval', 'train_dataloader.batch_size'])
@pytest.mark.parametrize('value', [0, -1, 'x', 1.5])
def test_counts_must_be_integers_of_at_least_one(field, value):
    refused(rf'^{field} must be (a whole number|at least 1), got {value!r}$', **{field: value})


def test_misspelt_field_of_a_loop_comes_with_its_near_match():
    refused(
        r"train_cfg\.max_epoch is not an argument of DualTrainLoop; did you mean 'max_epochs'",
        **{'train_cfg.max_epoch': 3},
    )


def test_empty_config_raises_with_the_missing_field(tmp_path):
    (tmp_path / 'empty.py').write_text('')
    with pytest.raises(ConfigError, match="the config has no 'model'"):
        RUNNERS.build(load_config('empty.py'))


def test_iteration_based_loops_raise():
    refused(r'train_cfg\.by_epoch is False', **{'train_cfg.by_epoch': False})


def test_map_that_is_not_a_component_raises_with_the_correct_form():
    refused(
        r"^model\.weight_map must be a dict or None, got 'AutoMap'; write dict\(type='AutoMap'\)$",
        **{'model.weight_map': 'AutoMap'},
    )


@pytest.mark.parametrize(
    ('field', 'message'),
    [
        ('train_dataloader.batch_siz', "not an argument of DataLoader; did you mean 'batch_size'"),
        ('train_dataloader.num_batch_per_epoc', "not an argument of DataLoader; did you mean 'num_batch_per_epoch'"),
        ('val_dataloader.sampler.shufle', "not an argument of DefaultSampler; did you mean 'shuffle'"),
        ('optim_wrapper.clip_gard', "not an argument of OptimWrapper; did you mean 'clip_grad'"),
        ('optim_wrapper.clip_grad.max_nrm', "not an argument of clip_grad_norm_; did you mean 'max_norm'"),
        ('optim_wrapper.optimizer.momentun', "not an argument of SGD; did you mean 'momentum'"),
        ('optim_wrapper.motivated.optimizer.lrr', "not an argument of SGD; did you mean 'lr'"),
        ('param_scheduler.0.T_mx', "not an argument of CosineAnnealingLR; did you mean 'T_max'"),
        ('default_hooks.logger.intervl', "not an argument of LoggerHook; did you mean 'interval'"),
        ('default_hooks.progres', "not a field; did you mean 'progress'"),
        ('visualizer.save_di', "not an argument of Visualizer; did you mean 'save_dir'"),
        ('randomness.sed', "not an argument of set_randomness; did you mean 'seed'"),
        ('env_cfg.cudnn_benchmrk', "not known; did you mean 'cudnn_benchmark'"),
        ('env_cfg.mp_cfg.opencv_num_thread', "not an argument of set_multi_processing; did you mean 'opencv_num_thr"),
        ('log_processor.windw_size', "not an argument of LogProcessor; did you mean 'window_size'"),
        ('motivation.polcy', "not an argument of MotivationHook; did you mean 'policy'"),
    ],
)
def test_misspelt_field_of_any_part_comes_with_its_near_match(field, message):
    refused(f'^{re.escape(field)} is {message}', **{field: 1})


@pytest.mark.parametrize(
    ('field', 'value', 'must'),
    [
        ('optim_wrapper.optimizer.lr', '0.1', 'a finite number'),
        ('optim_wrapper.optimizer.lr', float('nan'), 'a finite number'),
        ('optim_wrapper.optimizer.momentum', 'a', 'a finite number'),
        ('optim_wrapper.optimizer.nesterov', 'yes', 'True or False'),
        ('param_scheduler.0.T_max', 0, 'at least 1'),
        ('param_scheduler.0.eta_min', float('inf'), 'a finite number or None'),
        ('train_cfg.max_epochs', 10**12, 'at most 1,000,000,000'),
        ('train_dataloader.num_workers', 10**6, 'at most 256'),
        ('train_dataloader.num_workers', 0.5, 'a whole number'),
        ('train_dataloader', [], None),
        ('train_dataloader.dataset', 'digits', r'a Dataset, or a component: dict\(type=\.\.\.\)'),
        ('train_dataloader.dataset.type', ('DigitsDataset',), 'the name of a registered component'),
        ('train_dataloader.dataset.transforms.0.size', 'x', 'a whole number or a list'),
        ('model', 'DualModel', r'a Module, or a component: dict\(type=\.\.\.\) or a dict'),
        ('model.base', None, None),
        ('model.base.mean', ['a'], 'a list, each a finite number or None'),
        ('randomness', None, 'a dict'),
        ('val_cfg', [], 'a dict or None'),
        ('custom_hooks', 'x', 'a list or None'),
        ('resume', 'yes', 'True or False'),
        ('work_dir', 3, 'a string'),
        ('default_hooks.checkpoint.interval', '2', 'a whole number'),
        ('default_hooks.progress.priority', 101, 'one of HIGHEST, VERY_HIGH, .* or a number of 0 to 100'),
        ('val_evaluator.topk', ('a',), 'a list, each a whole number'),
    ],
)
def test_values_of_the_wrong_type_raise_with_the_right_type(field, value, must):
    if must is None:
        refused('', **{field: value})
    else:
        refused(rf'^{field} must be {must}.*, got {re.escape(repr(value))}$', **{field: value})


def test_misspelt_priority_comes_with_its_near_match():
    refused(
        r"^default_hooks\.progress\.priority is 'very_lo'; did you mean 'VERY_LOW'",
        **{'default_hooks.progress.priority': 'very_lo'},
    )


def test_milestones_must_be_numbers():
    refused(
        r"^param_scheduler\.0\.milestones must be a list, each a whole number, got \['a'\]$",
        param_scheduler=[dict(type='MultiStepLR', milestones=['a'])],
    )


def test_parts_that_belong_together_are_named():
    refused('^val_evaluator is missing; val_dataloader, val_cfg, val_evaluator go together', val_evaluator=None)


def test_unknown_runner_and_other_scope_raise():
    for name in ('Runer', 'Runner'):
        refused(f'^runner_type is {name!r}, which is not a registered DualModelRunner; leave it out', runner_type=name)
    refused("^default_scope is 'mmdet'; leave it out", default_scope='mmdet')


def test_checking_the_data_leaves_the_random_state_unchanged(tmp_path, monkeypatch):
    states = []
    for name in ('one', 'two'):
        runner = DualModelRunner.from_cfg(small_config(tmp_path / name))
        if name == 'two':
            monkeypatch.setattr('motivation.engine.runner.check_data', lambda runner, stage, loop: loop)
        runner.train()
        states.append(runner.model.state_dict())
    assert all(states[0][key].equal(states[1][key]) for key in states[0])
