import copy

from mmengine.config import Config

from motivation.config import run_text
from motivation.config.read import load_config
from tests.conftest import DIGITS


def test_text_is_cached_until_the_config_changes():
    config = load_config(DIGITS, {'randomness.seed': 4711})

    def made():
        return run_text._format.cache_info().misses

    before = made()
    assert config.pretty_text == Config.pretty_text.fget(config) and made() == before + 1
    assert copy.deepcopy(config).pretty_text == config.pretty_text and made() == before + 1
    config.train_cfg.max_epochs = 7
    assert 'max_epochs=7' in config.pretty_text and made() == before + 2
