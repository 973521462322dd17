import re
import tempfile
from pathlib import Path

import pytest

from motivation.config.checks import check_config
from motivation.config.read import load_config
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.registry import DATASETS, RUNNERS
from tests.conftest import DIGITS, ROOT, digits_config, train


@DATASETS.register_module(force=True)
class NoSuchData:
    def __init__(self, size):
        raise ValueError('no data of that size')


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


def test_option_replaces_a_component():
    swapped = load_config(DIGITS, {'motivation.policy.rate': 0.17, 'motivation.policy.type': 'RandomGate'})
    assert swapped.motivation.policy == dict(type='RandomGate', rate=0.17)
    check_config(swapped)
    same = load_config(DIGITS, {'motivation.policy.type': 'ConsecutiveDrop'})
    assert same.motivation.policy == dict(type='ConsecutiveDrop', drops=2)
    scheduler = load_config(DIGITS, {'param_scheduler.0.type': 'MultiStepLR', 'param_scheduler.0.milestones': [1]})
    assert scheduler.param_scheduler == [dict(type='MultiStepLR', milestones=[1])]


def test_unknown_option_comes_with_its_near_match():
    with pytest.raises(
        ConfigError, match=r"motivaton\.policy\.drops is not a field .*mean 'motivation\.policy\.drops'"
    ):
        load_config(DIGITS, {'motivaton.policy.drops': 3})
    assert load_config(DIGITS, {'load_from': 'a.pth'}).load_from == 'a.pth'


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


def test_missing_file_is_named_with_near_matches(tmp_path):
    (tmp_path / 'good.py').write_text('a = 1')
    with pytest.raises(ConfigError, match=r"config 'god\.py' does not exist; did you mean 'good\.py'\?"):
        load_config('god.py')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('a = (1', r"config 'bad\.py' does not parse: SyntaxError: .* \(line 1\)"),
        ('a = 1\nb = c', r"does not parse: NameError: name 'c' is not defined"),
        ("_base_ = 'nowhere.py'", r'does not parse: .*nowhere\.py'),
    ],
)
def test_file_that_does_not_parse_raises_one_line_with_the_reason(tmp_path, text, message):
    (tmp_path / 'bad.py').write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config('bad.py')
    mmengine_copy = str(Path(tempfile.gettempdir()) / 'tmp')
    assert '\n' not in str(caught.value) and mmengine_copy not in str(caught.value)


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        (None, r"ModuleNotFoundError: No module named 'faulty_plugin'"),
        (
            'import no_such_package',
            r"ModuleNotFoundError: No module named 'no_such_package' \(faulty_plugin\.py, line 1\)",
        ),
        ('a = 1\na + b', r"NameError: name 'b' is not defined \(faulty_plugin\.py, line 2\)"),
    ],
)
def test_plugin_that_does_not_import_raises_one_line_with_the_reason(tmp_path, text, reason):
    if text is not None:
        (tmp_path / 'faulty_plugin.py').write_text(text)
    (tmp_path / 'config.py').write_text("custom_imports = dict(imports=['faulty_plugin'])")
    with pytest.raises(ConfigError, match=f"^custom_imports.imports names 'faulty_plugin', .*: {reason}; ") as caught:
        load_config('config.py')
    assert '\n' not in str(caught.value) and str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (
            'def mine(samples): ...\ntrain_dataloader = dict(collate_fn=mine)',
            r'^train_dataloader\.collate_fn is <function mine .*>, a function that cannot be written down .*registered name, '
            r"dict\(type='mine'\), after motivation\.registry\.FUNCTIONS\.register_module\(\)",
        ),
        (
            "train_dataloader = dict(dataset=dict(transforms=[dict(type='Lambda', lambd=lambda image: image)]))",
            r'^train_dataloader\.dataset\.transforms\.0\.lambd is <function <lambda>.*your own .*TRANSFORMS\.register_module',
        ),
        (
            'from torch.optim import SGD\noptim_wrapper = dict(optimizer=dict(type=SGD))',
            r"^optim_wrapper\.optimizer\.type is <class 'torch\.optim\.sgd\.SGD'>, a class .*registered name, type='SGD', ",
        ),
        (
            'helper = dict(thing=object())',
            r'^helper\.thing is <object object .*>, an object that cannot be written down',
        ),
    ],
)
def test_values_that_cannot_be_saved_raise_with_the_fix(tmp_path, text, message):
    (tmp_path / 'config.py').write_text(f"_base_ = '{DIGITS}'\n{text}\n")
    with pytest.raises(ConfigError, match=message) as caught:
        load_config('config.py')
    assert '\n' not in str(caught.value)


def test_helper_functions_and_modules_are_allowed(tmp_path):
    text = 'import math\nimport torch\n\ndef half(x): return x / 2\n\nact = torch.nn.ReLU()\ndtype = torch.float32\n'
    (tmp_path / 'config.py').write_text(
        f"_base_ = '{DIGITS}'\n{text}train_cfg = dict(max_epochs=int(half(math.pow(2, 3))))"
    )
    config = load_config('config.py')
    check_config(config)
    assert config.train_cfg.max_epochs == 4


def test_absolute_import_under_read_base_raises_with_the_correct_form(tmp_path):
    load_config(DIGITS).dump(tmp_path / 'whole.py')
    text = 'from mmengine.config import read_base\n\nwith read_base():\n    from {} import *\n'
    (tmp_path / 'relative.py').write_text(text.format('.whole') + 'train_cfg.update(max_epochs=3)\n')
    config = load_config('relative.py')
    check_config(config)
    assert config.train_cfg.max_epochs == 3
    (tmp_path / 'absolute.py').write_text(text.format('configs.whole'))
    with pytest.raises(
        ConfigError, match=r"^config 'absolute\.py' imports 'configs\.whole' under read_base\(\), by an abs"
    ):
        load_config('absolute.py')


def test_plugin_beside_the_config_is_found(tmp_path):
    folder = tmp_path / 'mine'
    folder.mkdir()
    (folder / 'plugin_beside_config.py').write_text('VALUE = 1')
    (folder / 'config.py').write_text("custom_imports = dict(imports=['plugin_beside_config'])")
    load_config('mine/config.py')


def test_map_that_is_not_a_component_raises_with_the_correct_form():
    refused(
        r"^model\.weight_map must be a dict or None, got 'AutoMap'$",
        **{'model.weight_map': 'AutoMap'},
    )


@pytest.mark.parametrize(
    ('field', 'right'),
    [
        ('val_evalutor', 'val_evaluator'),
        ('optim_wraper', 'optim_wrapper'),
        ('moitvation', 'motivation'),
        ('mdoel', 'model'),
        ('modl', 'model'),
        ('resmue', 'resume'),
        ('param_schedulers', 'param_scheduler'),
    ],
)
def test_misspelt_top_level_field_comes_with_its_near_match(tmp_path, field, right):
    (tmp_path / 'config.py').write_text(f"_base_ = '{DIGITS}'\n{field} = dict()")
    with pytest.raises(ConfigError, match=f"^{field} is not a field; did you mean '{right}'"):
        load_config('config.py')


def test_helper_variables_are_allowed(tmp_path):
    names = [
        'resize',
        'flip',
        'data_root',
        'size',
        'epochs',
        'train_loader',
        'train_data',
        'val_dataset',
        'lr',
        'base_lr',
    ]
    names += [
        'dataset_type',
        'vis_backends',
        'train_pipeline',
        'num_classes',
        'backend_args',
        '_modl',
        'optimizer',
        'seed',
    ]
    (tmp_path / 'config.py').write_text('\n'.join([f"_base_ = '{DIGITS}'", *(f'{name} = 1' for name in names)]))
    check_config(load_config('config.py'))


def test_config_of_the_readme_is_legal(tmp_path):
    text = re.search(r'```python\n(# flowers\.py.*?)```', (ROOT / 'README.md').read_text(), flags=re.S).group(1)
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    (tmp_path / 'flowers.py').write_text(text)
    check_config(load_config('flowers.py'))


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


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'randomness.seed': -1}, r'^randomness\.seed must be at least 0 or None, got -1$'),
        (
            {'optim_wrapper.optimizer.lr': -0.1},
            r"^optim_wrapper\.optimizer = .*'lr': -0\.1.* cannot be built: ValueError: Invalid learning rate: -0\.1; "
            'correct it; SGD takes params, lr, momentum',
        ),
        ({'optim_wrapper.motivated.optimizer.lr': -1}, r"^optim_wrapper\.motivated\.optimizer = {'lr': -1} cannot be"),
        (
            {'train_dataloader.num_workers': -1},
            r'^train_dataloader\.num_workers must be at least 0, got -1$',
        ),
        ({'train_dataloader.persistent_workers': True}, r'^train_dataloader\.persistent_workers is True, which needs'),
        ({'val_cfg.models': ['bas']}, r"^val_cfg\.models names 'bas'; did you mean 'base'"),
        ({'train_cfg.val_begin': 50}, r'^train_cfg\.val_begin is 50, after train_cfg\.max_epochs, which is 40'),
        (
            {'train_cfg.type': 'EpochBasedTrainLoop'},
            r"^train_cfg\.type is 'EpochBasedTrainLoop'; it must be DualTrainLoop",
        ),
        (
            {'randomness.seed': 'abc'},
            r"^randomness\.seed must be a whole number or None, got 'abc'$",
        ),
        ({'param_scheduler.0.begin': -4}, r'^param_scheduler\.0\.begin must be at least 0, got -4$'),
        (
            {'optim_wrapper.clip_grad': dict(max_norm=-1)},
            r'^optim_wrapper\.clip_grad\.max_norm must be above 0, got -1$',
        ),
        (
            {'model.base.mixup': dict(mixup_alfa=1)},
            r"^model\.base\.mixup\.mixup_alfa is not an argument .* 'mixup_alpha'",
        ),
        ({'optim_wrapper.type': 'AmpOptimWrapper', 'optim_wrapper.dtype': 'float17'}, r'^optim_wrapper = .*AmpOptim'),
        ({'train_dataloader.batch_size': 10**9}, r'^train_dataloader\.batch_size is 1000000000, .* 1,437 images'),
        (
            {'train_dataloader.num_batch_per_epoch': 10**9},
            r'^train_dataloader\.num_batch_per_epoch is 1000000000, .* 1,437',
        ),
        (
            {'train_dataloader.num_batch_per_epoch': 0},
            r'^train_dataloader\.batch_size is 64, and its 0 images do not fill',
        ),
        (
            {'train_dataloader.dataset.transforms.0.size': 10**6},
            r'^image 0 fails in transforms\.0 \(RandomCrop\): ValueError: Required crop size .*; fix the transform',
        ),
        (
            {'model.base.mean': [1, 2, 3]},
            r'^model\.base does not take the images of train_dataloader\.dataset, \(1, 8, 8\)',
        ),
        (
            {'default_hooks.logger.interval': 0},
            r'^default_hooks\.logger = .* cannot be built: ValueError: interval must',
        ),
        ({'log_level': 'LOUD'}, r"^log_level is 'LOUD'; there is DEBUG, ERROR, INFO, WARNING"),
        (
            {'custom_hooks': [dict(type='EMAHook', momentum=0.1)]},
            r"^custom_hooks\.0\.type is 'EMAHook', which would score averaged weights .*; write model\.ema=dict\(decay=0\.999\)",
        ),
        (
            {'model.ema': dict(decay=1.0)},
            r'^model\.ema\.decay must be below 1, got 1\.0$',
        ),
        (
            {'model.base.std': [0.0]},
            r'^model\.base\.std must be a list, each above 0 or None, got \[0\.0\]$',
        ),
        (
            {'model.base.label_smoothing': 1.5},
            r'^model\.base\.label_smoothing must be below 1, got 1\.5$',
        ),
        (
            {'model.base.mixup': dict(mixup_alpha=-2)},
            r'^model\.base\.mixup is .* which is invalid: neither mixup_alpha',
        ),
        (
            {'env_cfg.mp_cfg.mp_start_method': 'x'},
            r"^env_cfg = .* cannot be built: ValueError: cannot find context for 'x'",
        ),
        ({'auto_scale_lr': dict(enable=True)}, r'^auto_scale_lr\.base_batch_size is missing; give the batch size'),
        (
            {'model.recalibrate': 1438},
            r'^model\.recalibrate is 1,438, and an epoch of train_dataloader has 1,437 images',
        ),
        (
            {'val_evaluator.topk': (0,)},
            r'^val_evaluator\.topk must be a list, each at least 1, got \(0,\)$',
        ),
        (
            {'train_dataloader.dataset': dict(_delete_=True, type='NoSuchData', size=1)},
            r"^train_dataloader\.dataset = {'type': 'NoSuchData', 'size': 1} cannot be built: ValueError: no data .*; NoSuchData takes",
        ),
        (
            {'train_dataloader.shuffle': True},
            r'^train_dataloader = .* cannot be built: ValueError: sampler option is mutually exclusive with shuffle; correct it$',
        ),
        (
            {'visualizer.vis_backends': [dict(type='WandbVisBackend')]},
            r'^visualizer = .* cannot be built: ImportError: Please run "pip install wandb"',
        ),
    ],
)
def test_errors_of_a_constructor_name_its_field(tmp_path, options, message):
    config = load_config(DIGITS, options)
    config.work_dir = str(tmp_path)
    with pytest.raises(ConfigError, match=message) as caught:
        train(config)
    assert '\n' not in str(caught.value) and len(str(caught.value)) < 700


def test_error_in_a_plugins_constructor_keeps_its_file_and_line(tmp_path):
    (tmp_path / 'faulty_policy.py').write_text(
        'from motivation.policies import SwitchPolicy\nfrom motivation.registry import POLICIES\n\n\n'
        '@POLICIES.register_module()\nclass Faulty(SwitchPolicy):\n    def __init__(self, window):\n'
        '        self.window = self.nonsense\n\n    def update(self, loss):\n        return False\n'
    )
    (tmp_path / 'config.py').write_text(
        f"_base_ = '{DIGITS}'\ncustom_imports = dict(imports=['faulty_policy'])\n"
        "motivation = dict(policy=dict(_delete_=True, type='Not', policy=dict(type='Faulty', window=3)))\n"
    )
    config = load_config('config.py')
    config.work_dir = str(tmp_path / 'run')
    with pytest.raises(ConfigError) as caught:
        DualModelRunner.from_cfg(config)
    assert str(caught.value) == (
        "motivation.policy.policy = {'type': 'Faulty', 'window': 3} cannot be built: AttributeError: "
        "'Faulty' object has no attribute 'nonsense' (faulty_policy.py, line 8); correct it; Faulty takes window"
    )
    assert isinstance(caught.value.__cause__, AttributeError)


def test_checking_the_data_leaves_the_random_state_unchanged(tmp_path, monkeypatch):
    states = []
    for name in ('one', 'two'):
        runner = DualModelRunner.from_cfg(digits_config(tmp_path / name))
        if name == 'two':
            monkeypatch.setattr('motivation.engine.runner.check_data', lambda runner, stage, loop: loop)
        runner.train()
        states.append(runner.model.state_dict())
    assert all(states[0][key].equal(states[1][key]) for key in states[0])
