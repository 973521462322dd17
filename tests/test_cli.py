from pathlib import Path

import pytest

from motivation.cli import prepare_test, prepare_training
from motivation.errors import ConfigError
from motivation.utils.checkpoint import write_checkpoint
from tests.conftest import DIGITS

NAME = Path(DIGITS).stem


def hold_run(folder, epochs=(1,)):
    Path(folder).mkdir(parents=True)
    for epoch in epochs:
        write_checkpoint({'state_dict': {}}, Path(folder) / f'epoch_{epoch}.pth')


def test_default_work_dir_is_the_first_without_a_run():
    assert prepare_training(DIGITS).work_dir == f'work_dirs/{NAME}'
    hold_run(f'work_dirs/{NAME}-2')
    Path(f'work_dirs/{NAME}/report.json').touch()
    assert prepare_training(DIGITS).work_dir == f'work_dirs/{NAME}-3'


def test_named_work_dir_with_a_run_is_an_error():
    hold_run('mine')
    with pytest.raises(
        ConfigError, match=r"work_dir 'mine' already holds a run; continue it with --resume, or name another"
    ):
        prepare_training(DIGITS, 'mine')


def test_resume_uses_the_newest_checkpoint_of_the_named_work_dir():
    hold_run('mine', epochs=(9, 10))
    config = prepare_training(DIGITS, 'mine', resume='latest')
    assert (config.resume, config.load_from, config.work_dir) == (True, 'mine/epoch_10.pth', 'mine')


def test_resume_without_a_work_dir_uses_the_newest_default_one():
    hold_run(f'work_dirs/{NAME}')
    hold_run(f'work_dirs/{NAME}-2', epochs=(3,))
    config = prepare_training(DIGITS, resume='latest')
    assert (config.load_from, config.work_dir) == (f'work_dirs/{NAME}-2/epoch_3.pth', f'work_dirs/{NAME}-2')


def test_resume_from_a_path_uses_its_folder():
    hold_run('moved', epochs=(1, 2))
    config = prepare_training(DIGITS, resume='moved/epoch_2.pth')
    assert (config.load_from, config.work_dir) == ('moved/epoch_2.pth', 'moved')


def test_resume_from_an_older_checkpoint_does_not_overwrite_newer_ones():
    hold_run('mine', epochs=(1, 2))
    with pytest.raises(ConfigError, match=r"work_dir 'mine' holds 'epoch_2\.pth' beside the checkpoint to resume"):
        prepare_training(DIGITS, resume='mine/epoch_1.pth')
    config = prepare_training(DIGITS, 'branch', resume='mine/epoch_1.pth')
    assert (config.load_from, config.work_dir) == ('mine/epoch_1.pth', 'branch')


@pytest.mark.parametrize(
    ('work_dir', 'resume', 'message'),
    [
        (None, 'latest', f"--resume finds no run under 'work_dirs/{NAME}'"),
        ('empty', 'latest', r"--resume finds no epoch_<n>\.pth in work_dir 'empty'; leave --resume out"),
        (None, 'gone/epoch_1.pth', r"--resume 'gone/epoch_1\.pth' does not exist; give .*, of which 'gone' has none$"),
    ],
)
def test_nothing_to_resume_is_an_error(work_dir, resume, message):
    with pytest.raises(ConfigError, match=message):
        prepare_training(DIGITS, work_dir, resume)


def test_checkpoints_that_exist_are_named_where_one_does_not():
    hold_run('mine', epochs=range(1, 8))
    Path('mine/epoch_7_iter_30.pth').touch()
    there = (
        r"there is 'mine/epoch_4\.pth' and .* and 'mine/epoch_7\.pth' and 'mine/epoch_7_iter_30\.pth', after 3 older$"
    )
    with pytest.raises(ConfigError, match=r"^--resume 'mine/epoch_9\.pth' does not exist; " + there):
        prepare_training(DIGITS, resume='mine/epoch_9.pth')
    with pytest.raises(ConfigError, match=r"^checkpoint 'mine/epoch_9\.pth' does not exist; " + there):
        prepare_test(DIGITS, 'mine/epoch_9.pth')
    with pytest.raises(ConfigError, match=r"^checkpoint 'mine/none' does not exist"):
        prepare_test(DIGITS, 'mine/none')
    Path('empty').mkdir()
    with pytest.raises(ConfigError, match=r"^checkpoint 'empty' is a folder with no epoch_<n>\.pth; name a checkpoint"):
        prepare_test(DIGITS, 'empty')


def test_unwritable_work_dir_is_an_error(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(ConfigError, match=r"work_dir 'file/run' cannot be written \(Not a directory\); name another"):
        prepare_training(DIGITS, 'file/run')


def test_test_command_needs_a_checkpoint_and_writes_to_its_folder():
    hold_run('mine')
    config = prepare_test(DIGITS, 'mine/epoch_1.pth', ['base'])
    assert (config.work_dir, config.test_cfg.models, config.resume) == ('mine/test', ['base'], False)
    with pytest.raises(ConfigError, match=r"checkpoint 'mine/epoch_7\.pth' does not exist"):
        prepare_test(DIGITS, 'mine/epoch_7.pth')


def test_test_command_takes_the_newest_readable_checkpoint_of_a_work_dir():
    hold_run('mine', (1, 2, 10))
    Path('mine/epoch_10.pth').write_bytes(b'cut off')
    config = prepare_test(DIGITS, 'mine')
    assert (config.load_from, config.work_dir) == ('mine/epoch_2.pth', 'mine/test')
