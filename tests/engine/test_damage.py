"""Corrupted checkpoints, full disks, and folders that are in use, moved or read-only."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from motivation.cli import prepare_training
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError, TrainingError
from motivation.hooks import MotivationHook
from motivation.utils.checkpoint import find_checkpoints, is_whole, read_checkpoint, write_checkpoint
from tests.conftest import DIGITS, tiny_config, train


def two_checkpoints(folder):
    folder.mkdir()
    for epoch in (1, 2):
        write_checkpoint({'state_dict': {'weight': torch.randn(1000)}, 'epoch': epoch}, folder / f'epoch_{epoch}.pth')
    return (folder / 'epoch_2.pth').read_bytes()


@pytest.mark.parametrize('kept', [0, 1, 100, 0.5, 0.9, 0.99, -22, -1])
def test_resume_falls_back_if_the_last_checkpoint_is_truncated(tmp_path, capsys, kept):
    content = two_checkpoints(tmp_path / 'run')
    length = int(kept * len(content)) if isinstance(kept, float) else kept
    (tmp_path / 'run/epoch_2.pth').write_bytes(content[:length])
    config = prepare_training(DIGITS, 'run', resume='latest')
    assert config.load_from == 'run/epoch_1.pth'
    assert "'run/epoch_2.pth' is damaged and renamed to 'epoch_2.pth.damaged'" in capsys.readouterr().err
    assert (tmp_path / 'run/epoch_2.pth.damaged').read_bytes() == content[:length]


def test_a_flipped_bit_in_the_weights_is_detected(tmp_path):
    content = bytearray(two_checkpoints(tmp_path / 'run'))
    content[len(content) // 2] ^= 4
    path = tmp_path / 'run/epoch_2.pth'
    path.write_bytes(content)
    torch.load(path, weights_only=True)  # torch itself does not
    assert not is_whole(path)
    with pytest.raises(ConfigError, match=r"epoch_2\.pth' is damaged"):
        read_checkpoint(path)


def test_resume_raises_if_every_checkpoint_is_corrupted(tmp_path):
    two_checkpoints(tmp_path / 'run')
    for path in find_checkpoints(tmp_path / 'run'):
        path.write_bytes(b'')
    for resume in ('latest', 'auto'):
        with pytest.raises(ConfigError, match=r"every checkpoint of work_dir 'run' is damaged: epoch_2\.pth, epoch_1"):
            prepare_training(DIGITS, 'run', resume=resume)


def test_auto_starts_a_new_run_or_resumes(tmp_path):
    assert prepare_training(DIGITS, 'run', resume='auto').get('load_from') is None
    assert prepare_training(DIGITS, resume='auto').work_dir == f'work_dirs/{Path(DIGITS).stem}'
    two_checkpoints(tmp_path / 'other')
    assert prepare_training(DIGITS, 'other', resume='auto').load_from == 'other/epoch_2.pth'


def fail_from(monkeypatch, second):
    """Let writing a checkpoint fail with a full disk, optionally from the second time on."""
    save, times = torch.save, []

    def full(content, file):
        times.append(1)
        if len(times) > second:
            file.write(b'half')
            raise OSError(errno.ENOSPC, 'No space left on device')
        save(content, file)

    monkeypatch.setattr(torch, 'save', full)


def test_full_disk_keeps_the_older_checkpoint_and_trains_on(tmp_path, monkeypatch, capsys):
    fail_from(monkeypatch, 1)
    config = tiny_config(tmp_path / 'run', epochs=3, **{'default_hooks.export': None})
    runner = DualModelRunner.from_cfg(config)
    with pytest.raises(TrainingError, match=r"run' lacks the last checkpoint \(No space left on device\): make room"):
        runner.train()
    assert len(runner.find_hook(MotivationHook).trace) == 18
    assert [path.name for path in find_checkpoints(tmp_path / 'run')] == ['epoch_1.pth']
    assert is_whole(tmp_path / 'run/epoch_1.pth') and not list((tmp_path / 'run').glob('.*.part'))
    said = capsys.readouterr().out
    assert (
        "epoch_2.pth' cannot be written (No space left on device); still there: 'epoch_1.pth'; training goes on" in said
    )


def test_full_disk_stops_training_if_configured(tmp_path, monkeypatch):
    fail_from(monkeypatch, 1)
    config = tiny_config(tmp_path / 'run', epochs=3, **{'default_hooks.checkpoint.on_write_error': 'stop'})
    with pytest.raises(TrainingError, match=r"still there: 'epoch_1\.pth'; training stops: make room, then --resume"):
        train(config)


@pytest.fixture
def small_disk(tmp_path):
    """A separate file system of 8 MiB."""
    disk = tmp_path / 'disk'
    disk.mkdir()
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip('file systems can be mounted by root alone')
    yield disk
    subprocess.run(['umount', '--lazy', disk], check=True)


class FillsTheDisk(Hook):
    """Fills the disk at the second batch of the run."""

    def __init__(self, path):
        self.path = path

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 1:
            with pytest.raises(OSError, match='No space left'), self.path.open('wb', buffering=0) as file:
                while True:
                    file.write(bytes(512))


def test_run_on_a_full_disk_ends_and_names_the_missing_results(small_disk, capfd):
    config = tiny_config(small_disk / 'run', epochs=2)
    runner = DualModelRunner.from_cfg(config)
    runner.register_hook(FillsTheDisk(small_disk / 'filler'))
    missing = r'switches\.npz, the last checkpoint, base\.pth, motivated\.pth, predictions\.csv, report\.json'
    with pytest.raises(TrainingError, match=rf"run' lacks {missing} \(No space left on device\): make room, then"):
        runner.train()
    said = capfd.readouterr()
    assert said.out.count('cannot be written (No space left on device) and will lack steps; make room') == 1
    assert 'Traceback' not in said.err and not list((small_disk / 'run').glob('.*.part'))
    assert len(runner.find_hook(MotivationHook).trace) == 12

    (small_disk / 'filler').unlink()  # and there is room again
    config.resume = True
    with pytest.raises(ConfigError, match=r"resume is True, and work_dir '.*run' has no readable checkpoint"):
        train(config)
    config.resume = False
    train(config)
    assert (small_disk / 'run/report.json').is_file() and is_whole(small_disk / 'run/epoch_2.pth')


HOLD = """
import sys
from pathlib import Path
from motivation.utils.lock import lock_folder
lock_folder(Path('run'))
print('held', flush=True)
sys.stdin.read()
"""


def test_folder_stays_locked_until_its_process_ends(tmp_path):
    (tmp_path / 'run').mkdir()
    with subprocess.Popen(
        [sys.executable, '-c', HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as holder:
        assert holder.stdout.readline() == 'held\n'
        with pytest.raises(ConfigError, match=rf"run' is in use by process {holder.pid} on .*; wait for its end"):
            prepare_training(DIGITS, 'run')
        holder.kill()
    assert prepare_training(DIGITS, 'run').work_dir == 'run'


def test_moved_run_resumes(tmp_path):
    whole = train(tiny_config(tmp_path / 'here'))
    (tmp_path / 'here/epoch_2.pth').unlink()
    (tmp_path / 'here').rename(tmp_path / 'there')
    config = tiny_config(tmp_path / 'there')
    config.resume, config.load_from = True, str(tmp_path / 'there/epoch_1.pth')
    moved = train(config)
    assert not (tmp_path / 'here').exists()
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, moved.model.state_dict()[name]), name


def test_read_only_folder_is_named(tmp_path, monkeypatch):
    (tmp_path / 'run').mkdir()

    def read_only(path, *_, **__):
        raise OSError(errno.EROFS, 'Read-only file system')

    monkeypatch.setattr(Path, 'touch', read_only)
    with pytest.raises(ConfigError, match=r"work_dir 'run' cannot be written \(Read-only file system\); name another"):
        prepare_training(DIGITS, 'run')
