"""Files and options that cannot be read raise one sentence with the fix."""

import re
import tempfile
from pathlib import Path

import pytest

from motivation.config.checks import check_config
from motivation.config.read import load_config
from motivation.errors import ConfigError
from tests.conftest import DIGITS, ROOT


def test_option_replaces_a_component():
    swapped = load_config(DIGITS, {'motivation.policy.rate': 0.17, 'motivation.policy.type': 'RandomGate'})
    assert swapped.motivation.policy == dict(type='RandomGate', rate=0.17)
    check_config(swapped)
    same = load_config(DIGITS, {'motivation.policy.type': 'ConsecutiveDrop'})
    assert same.motivation.policy == dict(type='ConsecutiveDrop', drops=2)
    scheduler = load_config(DIGITS, {'param_scheduler.0.type': 'MultiStepLR', 'param_scheduler.0.milestones': [1]})
    assert scheduler.param_scheduler == [dict(type='MultiStepLR', milestones=[1])]


@pytest.mark.parametrize('options', [{'model.distillation.weight': 0.5}, {'model.distillation': {'weight': 0.5}}])
def test_option_gives_fields_to_what_a_config_leaves_out(tmp_path, options):
    path = tmp_path / 'letter.py'
    path.write_text(f"_base_ = '{DIGITS}'\nmodel = dict(distillation=None)\n")
    assert load_config(str(path), options).model.distillation == dict(weight=0.5)
    assert load_config(str(path), {'model.distillation': None}).model.distillation is None


def test_unknown_option_comes_with_its_near_match():
    with pytest.raises(
        ConfigError, match=r"motivaton\.policy\.drops is not a field .*mean 'motivation\.policy\.drops'"
    ):
        load_config(DIGITS, {'motivaton.policy.drops': 3})
    assert load_config(DIGITS, {'load_from': 'a.pth'}).load_from == 'a.pth'


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


def test_option_for_a_helper_variable_is_refused_and_names_the_fields_that_have_its_value(tmp_path):
    config = ROOT / 'configs/cifar10/resnet8_resnet20_consecutive.py'
    with pytest.raises(
        ConfigError, match=r"^--cfg-options data_root would change nothing: 'data_root' is a helper"
    ) as e:
        load_config(str(config), {'data_root': '/elsewhere'})
    assert 'train_dataloader.dataset.root' in str(e.value) and 'val_dataloader.dataset.root' in str(e.value)
    (tmp_path / 'config.py').write_text(
        f"_base_ = '{DIGITS}'\nepochs = 77\nflip = True\nother = dict(a=1)\ntrain_cfg = dict(max_epochs=epochs)"
    )
    with pytest.raises(ConfigError, match=r'these have its value, 77: train_cfg\.max_epochs$'):
        load_config('config.py', {'epochs': 1})
    for option in ('flip', 'other.a'):
        with pytest.raises(ConfigError, match=r'override the fields themselves, such as train_cfg\.max_epochs$'):
            load_config('config.py', {option: 2})
    with pytest.raises(ConfigError, match=r"^--cfg-options epoch is not a field of 'config\.py'; "):
        load_config('config.py', {'epoch': 1})
    assert load_config('config.py', {'train_cfg.max_epochs': 5}).train_cfg.max_epochs == 5
