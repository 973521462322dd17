"""An invalid config leaves no new files behind."""

from pathlib import Path

import pytest

from motivation.cli import prepare_test, prepare_training
from motivation.errors import ConfigError
from motivation.registry import RUNNERS
from motivation.utils.lock import lock_folder
from tests.conftest import DIGITS

SHORT = {
    'train_cfg.max_epochs': 1,
    'train_dataloader.num_batch_per_epoch': 1,
    'default_hooks.compute_meter': None,
}

# Errors before, while and after the runner is built, and in a hook.
WRONG = [
    {'motivation.policy.drops': 0},
    {'model.base.model_name': 'resnet18'},
    {'train_dataloader.batch_size': 10**6},
    {'motivation.policy': dict(_delete_=True, type='GradientNorm', below=1), 'default_hooks.report.type': 'ReportHok'},
    {'default_hooks.compute_meter': None, 'motivation.policy': dict(_delete_=True, type='Budget', max_flops=1)},
]


def refuse(work_dir, options):
    with pytest.raises(ConfigError):
        RUNNERS.build(prepare_training(DIGITS, work_dir, options=options)).train()


@pytest.mark.parametrize('options', WRONG, ids=range(len(WRONG)))
def test_invalid_config_leaves_no_folder(tmp_path, options):
    refuse('new/run', options)
    assert list(tmp_path.iterdir()) == []
    refuse(None, options)
    assert list(tmp_path.iterdir()) == []


def test_only_folders_that_the_process_created_are_removed(tmp_path):
    """An existing folder and a folder with other files stay; the lock is released."""
    Path('mine').mkdir()
    Path('mine/notes.txt').write_text('keep')
    refuse('mine', WRONG[2])
    assert Path('mine/notes.txt').read_text() == 'keep'
    config = prepare_training(DIGITS, 'runs/a', options=WRONG[2])
    Path('runs/a/notes.txt').write_text('keep')
    with pytest.raises(ConfigError):
        RUNNERS.build(config).train()
    assert [path.name for path in Path('runs/a').iterdir()] == ['notes.txt']
    lock_folder(Path('runs/a'))


def test_started_run_keeps_its_folder(tmp_path):
    runner = RUNNERS.build(prepare_training(DIGITS, 'run', options=SHORT))
    runner.train()
    kept = sorted(path.name for path in Path('run').iterdir())
    with pytest.raises(ConfigError):
        RUNNERS.build(prepare_training(DIGITS, 'run', 'latest', {**SHORT, **WRONG[1]})).train()
    assert sorted(path.name for path in Path('run').iterdir()) == kept
    wrong = {'test_dataloader.dataset.split': 'train', 'model.base.num_classes': 7, 'model.motivated.num_classes': 7}
    with pytest.raises(ConfigError):
        RUNNERS.build(prepare_test(DIGITS, 'run/epoch_1.pth', options=wrong)).test()
    assert sorted(path.name for path in Path('run').iterdir()) == kept
    RUNNERS.build(prepare_test(DIGITS, 'run/epoch_1.pth')).test()
    assert Path('run/test').is_dir()
