import tempfile
from pathlib import Path

import pytest

from motivation.engine.config import check_config, load_config
from motivation.errors import ConfigError
from motivation.registry import RUNNERS
from tests.conftest import DIGITS


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


def test_option_swaps_a_component_for_another():
    swapped = load_config(DIGITS, {'motivation.policy.rate': 0.17, 'motivation.policy.type': 'RandomGate'})
    assert swapped.motivation.policy == dict(type='RandomGate', rate=0.17)
    check_config(swapped)
    same = load_config(DIGITS, {'motivation.policy.type': 'ConsecutiveDrop'})
    assert same.motivation.policy == dict(type='ConsecutiveDrop', drops=2)
    scheduler = load_config(DIGITS, {'param_scheduler.0.type': 'MultiStepLR', 'param_scheduler.0.milestones': [1]})
    assert scheduler.param_scheduler == [dict(type='MultiStepLR', milestones=[1])]


def test_option_that_is_no_field_comes_with_its_near_match():
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


def test_policy_that_is_no_component_says_how_it_is_written():
    config = load_config(DIGITS, {'motivation.policy': 'Never'})
    with pytest.raises(ConfigError, match=r"motivation\.policy is 'Never'; write policy=dict\(type=\.\.\.\)"):
        check_config(config)


@pytest.mark.parametrize('field', ['train_cfg.max_epochs', 'train_cfg.val_interval', 'train_dataloader.batch_size'])
@pytest.mark.parametrize('value', [0, -1, 'x', 1.5])
def test_counts_must_be_whole_numbers_of_at_least_one(field, value):
    refused(rf'{field} is {value!r}; it must be a whole number of at least 1', **{field: value})


def test_misspelt_field_of_a_loop_comes_with_its_near_match():
    refused(
        r"train_cfg\.max_epoch is not an argument of DualTrainLoop; did you mean 'max_epochs'",
        **{'train_cfg.max_epoch': 3},
    )


def test_empty_config_says_what_it_lacks(tmp_path):
    (tmp_path / 'empty.py').write_text('')
    with pytest.raises(ConfigError, match="the config has no 'model'"):
        RUNNERS.build(load_config('empty.py'))


def test_iteration_loops_are_refused():
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
def test_file_that_does_not_parse_says_why_in_one_line(tmp_path, text, message):
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
def test_plugin_that_does_not_import_says_why_in_one_line(tmp_path, text, reason):
    if text is not None:
        (tmp_path / 'faulty_plugin.py').write_text(text)
    (tmp_path / 'config.py').write_text("custom_imports = dict(imports=['faulty_plugin'])")
    with pytest.raises(ConfigError, match=f"^custom_imports.imports names 'faulty_plugin', .*: {reason}; ") as caught:
        load_config('config.py')
    assert '\n' not in str(caught.value) and str(tmp_path) not in str(caught.value)


def test_plugin_beside_the_config_is_found(tmp_path):
    folder = tmp_path / 'mine'
    folder.mkdir()
    (folder / 'plugin_beside_config.py').write_text('VALUE = 1')
    (folder / 'config.py').write_text("custom_imports = dict(imports=['plugin_beside_config'])")
    load_config('mine/config.py')


def test_map_that_is_no_component_says_how_it_is_written():
    refused(r"model\.weight_map is 'AutoMap'; write dict\(type='AutoMap'\)", **{'model.weight_map': 'AutoMap'})
