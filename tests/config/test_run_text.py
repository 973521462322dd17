import copy

from mmengine.config import Config

from motivation.config import run_text
from motivation.config.read import load_config
from tests.conftest import DIGITS


def test_text_of_a_field_is_cached_until_it_changes():
    config = load_config(DIGITS, {'randomness.seed': 4711})

    def made():
        return run_text._format.cache_info().misses

    before = made()
    assert config.pretty_text == Config.pretty_text.fget(config) and made() > before
    before = made()
    assert copy.deepcopy(config).pretty_text == config.pretty_text and made() == before
    config.train_cfg.max_epochs = 4711
    assert 'max_epochs=4711' in config.pretty_text and made() == before + 1
    assert config.pretty_text == Config.pretty_text.fget(config)
