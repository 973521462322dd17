from pathlib import Path

import pytest

from motivation.comparison.arm_config import configure
from motivation.comparison.arms import plan_arms
from motivation.config.checks import check_config
from motivation.config.read import load_config
from motivation.errors import ConfigError
from motivation.policies.switch_trace import SwitchTrace
from tests.conftest import DIGITS, ROOT


def plan(*texts, **kwargs):
    return {arm.label: arm for arm in plan_arms(texts, load_config(DIGITS), **kwargs)}


def configured(text, *others, **kwargs):
    arm = plan(text, *others)[text]
    kwargs = {'seed': 0, 'reference': None, **kwargs}
    return configure(arm, load_config(DIGITS), **kwargs)


@pytest.mark.parametrize(
    ('text', 'policy'),
    [
        ('never', dict(type='Never')),
        ('always', dict(type='Always')),
        ('consecutive', dict(type='ConsecutiveDrop')),
        ('consecutive:drops=3', dict(type='ConsecutiveDrop', drops=3)),
        ('random:rate=0.2,seed=4', dict(type='RandomGate', rate=0.2, seed=4)),
        ('EpochSchedule:epochs=[(0,1),(2,None)]', dict(type='EpochSchedule', epochs=[(0, 1), (2, None)])),
        (
            'ConsecutiveDrop:threshold=0.1,threshold_mode=rel',
            dict(type='ConsecutiveDrop', threshold=0.1, threshold_mode='rel'),
        ),
        (
            "Budget:max_fraction=0.2,policy={'type': 'Plateau', 'patience': 9}",
            dict(type='Budget', max_fraction=0.2, policy=dict(type='Plateau', patience=9)),
        ),
        ('config', dict(type='ConsecutiveDrop', drops=2)),
        ('config:drops=4', dict(type='ConsecutiveDrop', drops=4)),
        ('consecutive:across_epochs=false', dict(type='ConsecutiveDrop', across_epochs=False)),
    ],
)
def test_arm_is_a_policy_in_the_config_of_all(text, policy):
    config = configured(text, seed=7)
    check_config(config)
    assert config.motivation.policy.to_dict() == policy
    assert config.randomness.seed == 7
    assert config.model.to_dict() == load_config(DIGITS).model.to_dict()


def test_arm_changes_other_fields_by_their_dotted_names_and_its_own_epochs():
    config = configured('consecutive:drops=1,max_epochs=10,model.statistics=shared', epochs=20)
    assert config.motivation.policy.to_dict() == dict(type='ConsecutiveDrop', drops=1)
    assert (config.train_cfg.max_epochs, config.param_scheduler[0].T_max) == (10, 10)
    assert config.model.statistics == 'shared'
    assert configured('consecutive', epochs=20).param_scheduler[0].T_max == 20
    assert configured('consecutive').train_cfg.max_epochs == 40


def test_share_of_epochs_and_as_many_epochs_have_folders_of_their_own():
    one, share = plan_arms(['never:max_epochs=5', 'never:max_epochs=5%'], load_config(DIGITS))
    assert one.folder != share.folder


def test_share_of_epochs_is_one_of_those_of_the_other_arms():
    assert configured('never:max_epochs=150%').param_scheduler[0].T_max == 60
    assert configured('never:max_epochs=49.4%', epochs=164).train_cfg.max_epochs == 81
    assert configured('never:max_epochs=1%', epochs=20).train_cfg.max_epochs == 1


def test_model_that_trains_alone_is_not_distilled_unless_the_arm_says_so():
    shared = load_config(DIGITS, {'model.distillation.weight': 0.5})
    wanted = {
        'never': None,
        'always': None,
        'distillation': None,
        'config': {'weight': 0.5},
        'matched': {'weight': 0.5},
    }
    for arm in plan_arms(list(wanted), shared):
        assert configure(arm, shared, 0, Path('run')).model.get('distillation') == wanted[arm.label], arm.label
    (arm,) = plan_arms(['always:model.distillation.weight=0.1'], shared)
    assert configure(arm, shared, 0, None).model.distillation == {'weight': 0.1}


def test_config_of_an_arm_is_found_beside_the_config_that_names_it_and_first_in_the_current_folder():
    for folder, rate in (('there', 0.1), ('.', 0.2)):
        Path(folder).mkdir(exist_ok=True)
        Path(folder, 'mine.py').write_text(f'_base_ = {DIGITS!r}\noptim_wrapper = dict(optimizer=dict(lr={rate}))')
    shared = load_config(DIGITS)

    def learning_rate(folder):
        (arm,) = plan_arms(['mine.py'], shared, folder=Path(folder))
        return configure(arm, shared, 0, None).optim_wrapper.optimizer.lr

    assert learning_rate('there') == 0.2
    Path('mine.py').unlink()
    assert learning_rate('there') == 0.1
    with pytest.raises(ConfigError, match=r"config 'mine\.py' does not exist"):
        learning_rate('elsewhere')


def test_config_of_an_arm_is_the_kind_of_arm_that_its_fields_make_it():
    Path('mine.py').write_text(f'_base_ = {DIGITS!r}')
    text = 'mine.py:motivation.policy.type=Never'
    arm = plan(text)[text]
    assert (arm.policy, arm.trains, arm.is_condition) == ('Never', ('base',), False)
    config = configured(text)
    assert config.motivation.policy.to_dict() == {'type': 'Never'} and config.val_cfg.models == ['base']
    assert plan('mine.py')['mine.py'].policy == 'ConsecutiveDrop'


def test_arm_may_be_another_config():
    other = str(ROOT / 'configs/cifar10/resnet8_resnet20_always.py')
    config = configured(f'{other}:train_dataloader.batch_size=64', seed=3)
    assert config.motivation.policy.type == 'Always' and config.train_dataloader.batch_size == 64
    assert config.randomness.seed == 3
    arm = plan(other)[other]
    assert (arm.policy, arm.trains, arm.is_condition) == ('Always', ('motivated',), False)
    options = {'train_dataloader.batch_size': 32}
    assert configure(arm, load_config(DIGITS), 0, None, options=options).train_dataloader.batch_size == 32


def test_only_a_model_that_is_trained_is_evaluated():
    assert configured('never').val_cfg.models == ['base']
    assert configured('always').val_cfg.models == ['motivated']
    assert 'models' not in configured('consecutive').val_cfg


def test_control_is_derived_from_the_first_condition_or_the_one_it_names():
    arms = plan('never', 'always', 'random', 'matched:arm=consecutive:drops=3', 'consecutive', 'consecutive:drops=3')
    assert {label: arm.reference for label, arm in arms.items()} == {
        'never': None,
        'always': None,
        'random': 'consecutive',
        'matched:arm=consecutive:drops=3': 'consecutive:drops=3',
        'consecutive': None,
        'consecutive:drops=3': None,
    }


def test_reference_may_have_several_options_and_its_control_has_its_epochs():
    reference = 'consecutive:drops=2,window=5,max_epochs=7'
    control = plan('LossRise', reference, f'matched:seed=3,arm={reference}')[f'matched:seed=3,arm={reference}']
    assert (control.reference, control.max_epochs, control.options) == (reference, 7, {'seed': 3})
    other = plan('LossRise', 'random:arm=LossRise,seed=3')['random:arm=LossRise,seed=3']
    assert (other.reference, other.options) == ('LossRise', {'seed': 3})


def test_control_takes_the_rate_or_trace_of_its_reference():
    trace = SwitchTrace()
    for motivated in [0, 1, 1, 0, 0]:
        trace.append(0, 1.0, bool(motivated), False)
    Path('run').mkdir()
    trace.save(Path('run'))
    random = configured('random', 'consecutive', reference=Path('run'))
    assert random.motivation.policy.to_dict() == dict(
        type='RandomGate', rate=2 / 4
    )  # the first batch is always the base model's
    matched = configured('matched', 'consecutive', reference=Path('run'))
    assert matched.motivation.policy.to_dict() == dict(type='MatchedRandom', run='run')
    text = 'matched:windows=10,spells=true,arm=consecutive:drops=2,window=5'
    scheduled = configured(text, 'consecutive', 'consecutive:drops=2,window=5', reference=Path('run'))
    check_config(scheduled)
    assert scheduled.motivation.policy.to_dict() == dict(type='MatchedRandom', run='run', windows=10, spells=True)


def test_distillation_trains_the_base_with_the_motivated_model_of_always():
    arm = plan('distillation:temperature=2', 'always')['distillation:temperature=2']
    assert arm.reference == 'always' and arm.trains == ('base',)
    config = configure(arm, load_config(DIGITS), 0, Path('runs/always'))
    check_config(config)
    assert config.model.base.type == 'DistilledClassifier'
    assert (config.model.base.teacher, config.model.base.temperature) == ('runs/always/motivated.pth', 2)
    assert config.motivation.policy.type == 'Never' and config.model.motivated.type == 'TimmClassifier'


@pytest.mark.parametrize(
    ('texts', 'message'),
    [
        (['nevr'], "'nevr' is neither an arm nor a registered policy; did you mean 'never'"),
        (['never', 'never'], "has 'never' twice"),
        (['consecutive:3'], 'not of the form NAME:KEY=VALUE'),
        (['random'], 'is derived from the runs of another arm, and there is none'),
        (['matched:arm=consecutiv', 'consecutive'], "'consecutiv', which is not an arm; did you mean 'consecutive'"),
        (['consecutive:arm=never', 'never'], 'is not derived from another arm'),
        (
            ['distillation', 'never'],
            "learns from the motivated model of an arm 'always', and there is none; add that arm",
        ),
        (['other.py:drops=3'], 'takes dotted fields only'),
        (['consecutive:max_epochs=0'], "'consecutive:max_epochs=0' has max_epochs=0, which must be a whole number"),
        (['consecutive:max_epochs=0%'], 'has max_epochs=0%, which must be a whole number of at least 1, or a share'),
        (['consecutive:max_epochs=50x'], 'has max_epochs=50x, which must be a whole number'),
        (
            ['consecutive:optim_wraper.optimizer.lr=1'],
            r"arms 'consecutive:.*' cannot be applied: optim_wraper\.optimizer\.lr is not a field",
        ),
        (['consecutive:randomness.seed=5'], 'sets randomness.seed, which is what the seeds are for'),
        ([''], "'' is neither an arm"),
    ],
)
def test_invalid_arm_raises_one_sentence(texts, message):
    with pytest.raises(ConfigError, match=message):
        for arm in plan(*texts).values():
            configure(arm, load_config(DIGITS), 0, None)
