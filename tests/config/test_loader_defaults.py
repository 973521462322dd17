import pytest
import torch

from motivation.config.checks import check_config
from motivation.config.defaults import with_defaults
from tests.conftest import digits_config


@pytest.mark.parametrize('has_gpu', [False, True])
def test_workers_stay_and_memory_is_pinned_where_there_is_a_gpu(tmp_path, monkeypatch, has_gpu):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: has_gpu)
    options = {'train_dataloader.num_workers': 2, 'val_dataloader.num_workers': 1}
    given = {'val_dataloader.persistent_workers': False, 'val_dataloader.pin_memory': not has_gpu}
    config = with_defaults(digits_config(tmp_path, **options, **given))
    loaders = [config.train_dataloader, config.val_dataloader]
    assert [loader.persistent_workers for loader in loaders] == [True, False]
    assert [loader.pin_memory for loader in loaders] == [has_gpu, not has_gpu]
    assert 'persistent_workers' not in with_defaults(digits_config(tmp_path)).train_dataloader


def test_config_with_defaults_is_valid_for_every_class_of_loader(tmp_path):
    for kind in ('DataLoader', 'DeviceDataLoader'):
        options = {'train_dataloader.type': kind, 'train_dataloader.num_workers': 2}
        config = with_defaults(digits_config(tmp_path, **options))
        del config.default_hooks['motivation']
        check_config(config)
