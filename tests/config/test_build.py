"""Errors of a component name its field, at any depth."""

import pytest

from motivation.config.build import build
from motivation.errors import ConfigError
from motivation.policies import SwitchPolicy
from motivation.registry import DATASETS, POLICIES

DROP = dict(type='ConsecutiveDrop', drops=1)
GATE = dict(type='RandomGate', rate=0.5)


@POLICIES.register_module(force=True)
class Twice(SwitchPolicy):
    """Builds its inner policies from its own configs, as a plugin may."""

    def __init__(self, policy):
        self.policies = [POLICIES.build(dict(policy)) for _ in range(2)]

    def update(self, loss):
        return False


@POLICIES.register_module(force=True)
class FaultyWindow(SwitchPolicy):
    def __init__(self, window):
        self.window = {}[window]

    def update(self, loss):
        return False


@pytest.mark.parametrize(
    ('policy', 'message'),
    [
        (dict(type='ConsecutiveDrop', drops=0), r'^motivation\.policy\.drops must be at least 1, got 0$'),
        (
            dict(type='All', policies=[GATE, dict(GATE, rate=2)]),
            r'^motivation\.policy\.policies\.1\.rate must be at most 1, got 2$',
        ),
        (
            dict(type='Not', policy=dict(type='Any', policies=[DROP, dict(DROP, drops=0)])),
            r'^motivation\.policy\.policy\.policies\.1\.drops must be at least 1, got 0$',
        ),
        (dict(type='Twice', policy=dict(GATE, rate=-1)), r'^motivation\.policy\.policy\.rate must be'),
        (dict(type='All', policies=[DROP, 5]), r'^motivation\.policy\.policies\.1 must be a policy: .*, got 5$'),
        (
            dict(type='Not', policy=dict(type='LossZScore')),
            r'^motivation\.policy\.policy\.below is None, above is None; give exactly one of below, above$',
        ),
        (
            dict(type='Not', policy=dict(type='FaultyWindow', window=3)),
            r"^motivation\.policy\.policy = {'type': 'FaultyWindow', 'window': 3} cannot be built: KeyError: 3 "
            r'\(test_build\.py, line \d+\); correct it; FaultyWindow takes window$',
        ),
    ],
)
def test_invalid_argument_of_a_policy_raises_with_its_field(policy, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build(POLICIES, policy, 'motivation.policy')
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('dataset', 'message'),
    [
        (dict(type='RepeatDataset', times=0, dataset=dict(type='DigitsDataset', split='train')), r'^data\.times must be '),
        (
            dict(type='ConcatDataset', datasets=[dict(type='DigitsDataset', split=split) for split in ('train', 'val')]),
            r"^data\.datasets\.1\.split must be 'train' or 'test', got 'val'$",
        ),
        (
            dict(type='DigitsDataset', split='train', transforms=[dict(type='RandomCrop', size=8), dict(type='RandomErasing', p=2)]),
            r"^data\.transforms\.1 = {'type': 'RandomErasing', 'p': 2} cannot be built: ValueError: ",
        ),
    ],
)  # fmt: skip
def test_invalid_argument_of_a_dataset_raises_with_its_field(dataset, message):
    with pytest.raises(ConfigError, match=message):
        build(DATASETS, dataset, 'data')


def test_arguments_that_are_not_in_the_config_are_passed():
    policy = build(POLICIES, dict(type='ConsecutiveDrop'), 'motivation.policy', drops=5)
    assert policy.drops == 5 and build(POLICIES, policy, 'motivation.policy') is policy
