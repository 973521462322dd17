"""The arms of a sweep."""

import itertools

import pytest

from motivation.comparison.arm_config import configure
from motivation.comparison.arms import plan_arms
from motivation.comparison.compare import Comparison
from motivation.comparison.sweep import expand_sweep, split_values
from motivation.config.read import load_config
from motivation.errors import ConfigError
from tests.comparison.test_comparison_plan import written
from tests.conftest import DIGITS


@pytest.fixture(scope='module')
def shared():
    return load_config(DIGITS)


def configured(shared, text):
    (arm,) = plan_arms([text], shared)
    return configure(arm, shared, 0, None)


def test_a_sweep_is_the_grid_of_its_values_after_never_and_always(tmp_path):
    planned = Comparison(
        DIGITS, tmp_path / 'work', sweep=['motivation.policy.drops=1,3', 'model.distillation.weight=0,0.5']
    )
    assert [arm.label for arm in planned.arms] == ['never', 'always'] + [
        f'config:motivation.policy.drops={drops},model.distillation.weight={weight}'
        for drops in (1, 3)
        for weight in (0, 0.5)
    ]
    for arm, (drops, weight) in zip(planned.arms[2:], itertools.product((1, 3), (0, 0.5)), strict=True):
        config = planned._configure(arm, 0, None)
        assert config.motivation.policy.drops == drops
        assert config.model.get('distillation') == ({'weight': weight} if weight else None)  # 0 is none
    assert len({job.folder for job in planned.jobs}) == 6 * 3
    assert planned.jobs[2].folder.parent.name == 'config_motivation.policy.drops=1,model.distillation.weight=0'


def test_a_sweep_of_the_config_is_that_of_the_command_line(tmp_path):
    sweep = {'motivation.policy.drops': [1, 2], 'max_epochs': ['50%']}
    planned = Comparison(written(sweep=sweep, arms=['never'], seeds=[5]), tmp_path / 'work')
    assert [arm.label for arm in planned.arms] == [
        'never', 'config:motivation.policy.drops=1,max_epochs=50%', 'config:motivation.policy.drops=2,max_epochs=50%'
    ]  # fmt: skip
    assert planned._configure(planned.arms[1], 5, None).train_cfg.max_epochs == 20
    other = Comparison(written(sweep=sweep), tmp_path / 'work', sweep=['motivation.policy.drops=4'])
    assert [arm.label for arm in other.arms] == ['never', 'always', 'config:motivation.policy.drops=4']


@pytest.mark.parametrize(
    ('text', 'values'),
    [
        ('1,2,3', ['1', '2', '3']),
        ('[1,2],(3,4),None', ['[1,2]', '(3,4)', 'None']),
        ("{'type':'A','n':[1,2]},{'type':'B'}", ["{'type':'A','n':[1,2]}", "{'type':'B'}"]),
        ("'a,b',c", ["'a,b'", 'c']),
        ("['a,]',1],x", ["['a,]',1]", 'x']),
        ("don't,do", ["don't", 'do']),
        ('1,,2', ['1', '', '2']),
        ('', []),
    ],
)
def test_commas_within_brackets_and_quotes_do_not_separate_values(text, values):
    assert split_values(text) == values


@pytest.mark.parametrize(
    'values',
    [[1, True, 0.5, None], ['a,b', 'true', '1', '', 'x y', '[1'], [[1, (2, 'a')], {'type': 'A', 'n': {'b': [None]}}]],
)
def test_every_value_returns_from_the_text_of_its_arm_as_it_was(shared, values):
    arms = plan_arms(expand_sweep({'train_cfg.x': values, 'train_cfg.y': [1]}, [], shared), shared)
    assert [repr(arm.config_options['train_cfg.x']) for arm in arms] == [repr(value) for value in values]


def test_a_swept_policy_keeps_no_field_of_the_policy_before_it(shared):
    """The config has ConsecutiveDrop(drops=2)."""
    for text, policy in (
        ('config:motivation.policy.type=LossRise', {'type': 'LossRise'}),
        ('config:motivation.policy.type=ConsecutiveDrop', {'type': 'ConsecutiveDrop', 'drops': 2}),
        ("config:motivation.policy={'type': 'LossRise', 'rises': 3}", {'type': 'LossRise', 'rises': 3}),
        ("config:motivation.policy={'type': 'ConsecutiveDrop', 'drops': 5}", {'type': 'ConsecutiveDrop', 'drops': 5}),
        ('config:type=LossRise,rises=2', {'type': 'LossRise', 'rises': 2}),
    ):
        assert configured(shared, text).motivation.policy.to_dict() == policy, text


def test_a_swept_policy_that_trains_one_model_alone_is_a_baseline(shared):
    texts = [
        'config:motivation.policy.type=Never',
        'config:type=Always',
        "config:motivation.policy={'type': 'RandomGate'}",
    ]
    never, always, gate = plan_arms(texts, shared)
    assert (never.trains, always.trains, gate.trains) == (('base',), ('motivated',), ('base', 'motivated'))
    assert configured(shared, texts[0]).val_cfg.models == ['base'] and not gate.is_condition
    assert shared.motivation.policy.type == 'ConsecutiveDrop'


def test_a_field_that_replaces_another_does_so_with_every_seed(shared):
    text = "config:optim_wrapper.optimizer={'_delete_': True, 'type': 'SGD', 'lr': 0.1}"
    (arm,) = plan_arms([text], shared)
    for seed in (0, 1):
        assert configure(arm, shared, seed, None).optim_wrapper.optimizer.to_dict() == {'type': 'SGD', 'lr': 0.1}


def test_a_field_of_the_top_level_is_no_field_of_the_policy(shared):
    assert configured(shared, 'config:compile=True').compile is True


def test_a_long_label_has_a_folder_of_its_own_that_a_file_system_takes(shared):
    values = ['é' * 200 + end for end in 'ab']
    one, other = plan_arms(expand_sweep({'train_cfg.x': values}, [], shared), shared)
    assert one.folder != other.folder and len(one.folder.encode()) <= 200
    assert one.folder.startswith('config_train_cfg.x=éé')


@pytest.mark.parametrize(
    ('sweep', 'arms', 'message'),
    [
        (['motivation.policy.drops'], None, r"^--sweep 'motivation\.policy\.drops' is not of the form FIELD=V1,V2,\.\.\.$"),
        (['motivation.policy.drops='], None, r"^--sweep gives 'motivation\.policy\.drops' \[\]; give a list of its values$"),
        (['motivation.policy.drops=1,,2'], None, r"^--sweep has an empty value of 'motivation\.policy\.drops'"),
        (['motivation.policy.drops=1,1'], None, r"^--sweep gives 'motivation\.policy\.drops' the value 1 twice"),
        (['max_epochs=1', 'max_epochs=2'], None, r"^--sweep has 'max_epochs' twice; give all its values at once$"),
        (['drops=1'], None, r"^--sweep has 'drops', .*; did you mean 'motivation\.policy\.drops'\?$"),
        (['motivation.policy.dropz=1'], None, r"^--sweep makes the arm .*dropz is not an argument of Cons.*'drops'\?$"),
        (['optim_wraper.lr=1'], None, r"^--sweep makes the arm .*optim_wraper\.lr is not a field"),
        (['motivation.policy.drops=1,0'], None, r"^--sweep makes the arm 'config:motivation\.policy\.drops=0', which is "
         r'refused: motivation\.policy\.drops must be at least 1, got 0$'),
        (['motivation.policy.type=LossRise', 'motivation.policy.drops=1'], None, r'--sweep makes .*drops is not an argument '
         r'of LossRise.*; a component that varies with fields of its own is one field: motivation\.policy='),
        (['motivation.policy.drops=1'], ['config:motivation.policy.drops=1'],
         r'^--sweep makes the arm .*, which is also given as an arm; leave it out there$'),
        (['randomness.seed=1,2'], None, r'^--sweep .*sets randomness\.seed, which is what the seeds are for; leave it out$'),
        (['model.distillation.weight=0.5,2'], None, r'^--sweep .*model\.distillation\.weight must be at most 1, got 2$'),
        (['work_dir=a,b'], None, r'^--sweep .*sets work_dir, which is the folder of each run; leave it out$'),
        (['comparison.epochs=1'], None, r'^--sweep .*sets comparison\.epochs, which is no part of a run; leave it out$'),
        (['max_epochs=0'], None, r'^--sweep .*has max_epochs=0, which must be a whole number of at least 1'),
        (["log_level='x,y=z'"], None, r'^--sweep gives .*which the text of an arm cannot express'),
        (["motivation.policy={'type':'Never'}", 'motivation.policy.drops=1'], None,
         r"^--sweep has 'motivation\.policy' and 'motivation\.policy\.drops', a part of it; give one of them$"),
        (['a.b=' + ','.join(map(str, range(101))), 'a.c=' + ','.join(map(str, range(100)))], None,
         r'^--sweep is a grid of 101 x 100 arms, more than 10,000; give fewer values$'),
    ],
)  # fmt: skip
def test_a_wrong_sweep_is_refused_in_one_sentence_before_anything_runs(tmp_path, sweep, arms, message):
    with pytest.raises(ConfigError, match=message) as raised:
        Comparison(DIGITS, tmp_path / 'work', arms=arms, sweep=sweep)
    assert '\n' not in str(raised.value) and not (tmp_path / 'work').exists()


@pytest.mark.parametrize(
    ('sweep', 'message'),
    [
        ({}, r'^comparison\.sweep must be .* not empty'),
        ({'motivation.policy.drops': 3}, r"^comparison\.sweep gives 'motivation\.policy\.drops' 3; give a list"),
        ({'motivation.policy.drops': [0]}, r'^comparison\.sweep makes the arm .*must be at least 1, got 0$'),
        ({'motivation.policy.drops': []}, r"^comparison\.sweep gives 'motivation\.policy\.drops' \[\]; give a list"),
    ],
)
def test_a_wrong_sweep_of_the_config_is_named_as_its_field(tmp_path, sweep, message):
    with pytest.raises(ConfigError, match=message):
        Comparison(written(sweep=sweep), tmp_path / 'work')
