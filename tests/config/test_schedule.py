import pytest
from mmengine.config import Config

from motivation.config.schedule import scale_epochs
from motivation.errors import ConfigError


def scaled(schedulers, before, after):
    config = Config(dict(train_cfg=dict(max_epochs=before), param_scheduler=schedulers))
    scale_epochs(config, after)
    assert config.train_cfg.max_epochs == after
    return config._cfg_dict.to_dict()['param_scheduler']


def test_every_field_of_epochs_is_scaled():
    before = [
        dict(type='LinearLR', start_factor=0.01, begin=0, end=10),
        dict(type='CosineAnnealingLR', T_max=90, begin=10, eta_min=1e-5),
        dict(type='MultiStepLR', milestones=[50, 75], gamma=0.1),
    ]
    assert scaled(before, 100, 20) == [
        dict(type='LinearLR', start_factor=0.01, begin=0, end=2),
        dict(type='CosineAnnealingLR', T_max=18, begin=2, eta_min=1e-5),
        dict(type='MultiStepLR', milestones=[10, 15], gamma=0.1),
    ]


def test_nonzero_epochs_stay_at_least_one():
    assert scaled([dict(type='LinearLR', begin=0, end=3)], 100, 5) == [dict(type='LinearLR', begin=0, end=1)]


def test_phase_that_would_have_no_length_keeps_an_epoch():
    decay = dict(type='LinearLR', start_factor=1.0, end_factor=0.0, begin=98, end=164)
    assert [(part['begin'], part['end']) for epochs in (16, 2, 1) for part in scaled([dict(decay)], 164, epochs)] == [
        (10, 16),
        (1, 2),
        (0, 1),
    ]


def test_schedulers_by_iteration_or_for_one_model_or_none():
    by_iter = dict(type='LinearLR', end=500, by_epoch=False)
    assert scaled(dict(base=[by_iter], motivated=dict(type='StepLR', step_size=30)), 90, 30) == dict(
        base=[by_iter], motivated=dict(type='StepLR', step_size=10)
    )
    assert scaled(None, 90, 30) is None
    assert scaled(dict(type='StepLR', step_size=30), 90, 180) == dict(type='StepLR', step_size=60)


@pytest.mark.parametrize('epochs', [0, -1, 2.5, '3', True])
def test_invalid_epochs_raise(epochs):
    with pytest.raises(ConfigError, match=r'^epochs must be a whole number of at least 1, got '):
        scaled([], 10, epochs)
