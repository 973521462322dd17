"""Properties of all policies: none raises, loses state, or depends on undeclared inputs."""

import ast
import json
import random
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motivation import policies
from motivation.hooks.policy_signals import SIGNALS
from motivation.policies import SwitchPolicy
from motivation.policies.switch_trace import SwitchTrace
from motivation.registry import POLICIES
from tests.policies.simulation import Simulation

BATCHES = 40

DROP = dict(type='ConsecutiveDrop', drops=1)
GATE = dict(type='RandomGate', rate=0.4)
CONFIGS = [
    DROP,
    dict(type='ConsecutiveDrop', drops=2, smoothing=0.5, threshold=0.01, threshold_mode='rel', across_epochs=False),
    dict(type='ConsecutiveDrop', window=3, threshold=0.1, min_spell=2, max_spell=4, cooldown=3),
    dict(type='Never'),
    dict(type='Always'),
    GATE,
    dict(type='MatchedRandom', run='recorded'),
    dict(type='MatchedRandom', run='recorded', windows=4, spells=True),
    dict(type='Replay', run='recorded'),
    dict(type='Periodic', on=2, off=3),
    dict(type='EpochSchedule', epochs=[(1, 3), (5, None)]),
    dict(type='LossRise', rises=2),
    dict(type='LossBelow', threshold=1.0, smoothing=0.5),
    dict(type='Plateau', patience=3, threshold=0.01, smoothing=0.5),
    dict(type='LossZScore', below=-0.5, window=4),
    dict(type='LossZScore', above=0.5, window=4),
    dict(type='GradientNorm', below=1.0, relative=0.9),
    dict(type='GradientNorm', above=2.0),
    dict(type='ValidationGain', min_gain=0.1),
    dict(type='HeldInDrop', drops=1, every=5),
    dict(type='GradientAgreement', above=0.2),
    dict(type='GradientAgreement', quantile=0.5, window=5),
    dict(type='LearningProgress', drops=1, window=5),
    dict(type='LearningProgress', reference='zero'),
    dict(type='All', policies=[DROP, GATE, dict(type='GradientNorm', below=3.0)]),
    dict(type='Any', policies=[DROP, dict(type='Periodic', on=1, off=4)]),
    dict(type='Not', policy=GATE),
    dict(type='During', policy=GATE, start=0.25, end=0.75),
    dict(type='During', policy=DROP, start=1, end=4, unit='epoch'),
    dict(type='LimitSpells', policy=GATE, min_spell=2, max_spell=3, cooldown=2),
    dict(type='Budget', policy=GATE, max_fraction=0.2, mode='thin', tail=0.1),
    dict(type='Budget', policy=dict(type='Any', policies=[DROP, GATE]), min_saving=1.5, tail=0.05),
    dict(type='Budget', policy=dict(type='Not', policy=DROP), max_train_flops=50_000),
]
IDS = [f'{index}-{config["type"]}' for index, config in enumerate(CONFIGS)]

every_policy = pytest.mark.parametrize('config', CONFIGS, ids=IDS)


@pytest.fixture(autouse=True)
def _recorded_run(tmp_path):
    trace, generator = SwitchTrace(), random.Random(5)
    motivated = [False] + [generator.random() < 0.3 for _ in range(BATCHES)]
    for i in range(BATCHES):
        trace.append(i // 5, 1.0, motivated[i], motivated[i + 1])
    (tmp_path / 'recorded').mkdir()
    trace.save(tmp_path / 'recorded')


def each_batch(values):
    return st.lists(values, min_size=BATCHES, max_size=BATCHES)


LOSSES = each_batch(st.floats(allow_nan=True, allow_infinity=True, width=32) | st.floats(0, 5))
GIVEN = {  # every signal that is not a count
    'accuracy': st.floats(0, 1),
    'grad_norm': st.floats(0, 10) | st.just(float('inf')),
    'sample_progress': st.none() | st.floats(allow_nan=True, allow_infinity=True),
    'held_in_loss': st.none() | st.floats(allow_nan=True, allow_infinity=True),
    'grad_agreement': st.none() | st.just(float('nan')) | st.floats(-1, 1),
    'metrics': st.none() | st.builds(lambda x: {'base/accuracy/top1': x}, st.floats(0, 100)),
}


def drawn_run(data, config):
    """Draw the losses of a run, and the values of the signals that a policy declares."""
    signals = build(config).signals
    declared = [name for name in GIVEN if name in signals]
    return {'losses': data.draw(LOSSES), **{name: data.draw(each_batch(GIVEN[name])) for name in declared}}


def build(config, seed=3) -> SwitchPolicy:
    policy = POLICIES.build(dict(config))
    policy.set_seed(seed)
    return policy


def test_every_registered_policy_is_tested():
    names = {name for name in policies.__all__ if name in POLICIES.module_dict}
    assert names == {config['type'] for config in CONFIGS} == set(policies.__all__) - {'SwitchPolicy', 'Compute'}


@every_policy
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_returns_a_bool_for_any_input(config, data):
    decisions = Simulation(**drawn_run(data, config)).run(build(config)).decisions
    assert len(decisions) == BATCHES and all(type(decision) is bool for decision in decisions)


@every_policy
@settings(max_examples=25, deadline=None)
@given(data=st.data(), cut=st.integers(0, BATCHES))
def test_state_dict_restores_everything(config, data, cut):
    """A policy interrupted anywhere, and restored from plain data into a new one, continues with the same decisions."""
    run = drawn_run(data, config)
    whole = Simulation(**run).run(build(config))
    broken, before = Simulation(**run), build(config)
    broken.run(before, end=cut)
    state = json.loads(json.dumps(before.state_dict()))
    after = build(config, seed=99)
    after.load_state_dict(state)
    broken.run(after, begin=cut, motivated=bool(broken.decisions and broken.decisions[-1]))
    assert broken.decisions == whole.decisions


@every_policy
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_depends_only_on_declared_signals(config, data):
    """Changing all other signals and the global random states changes no decision."""
    policy, run = build(config), drawn_run(data, config)
    some, others = ({name: BATCHES * [data.draw(GIVEN[name])] for name in GIVEN if name not in run} for _ in range(2))
    assert policy.signals <= SIGNALS.keys()
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    first = Simulation(**run, **some).run(policy).decisions
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    assert Simulation(**run, **others).run(build(config)).decisions == first
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    assert random.getstate() == states[0]
    assert (np.random.get_state()[1] == states[1]).all()
    assert torch.equal(torch.get_rng_state(), states[2])


@every_policy
def test_repr_shows_the_given_arguments(config):
    text = repr(build(config))
    assert text.startswith(config['type'] + '(')
    for name, value in config.items():
        if isinstance(value, (int, float)):
            assert f'{name}={value!r}' in text


@pytest.mark.parametrize('name', sorted(set(policies.__all__) - {'SwitchPolicy', 'Compute'}))
def test_example_of_the_docstring_is_a_config_that_builds(name):
    lines = re.findall(r'(?:>>>|\.\.\.) (.*)', getattr(policies, name).__doc__)
    assert lines, 'a policy is documented with a config example'
    code = '\n'.join(lines).replace('work_dirs/resnet8_resnet20_consecutive', 'recorded')
    space = {}
    exec(compile(ast.parse(code), name, 'exec'), space)
    assert type(POLICIES.build(space['motivation']['policy'])).__name__ == name
