from types import SimpleNamespace

import pytest

from motivation.errors import ConfigError
from motivation.hooks import DualCheckpointHook
from motivation.utils.checkpoint import find_checkpoints, read_checkpoint
from tests.conftest import train
from tests.small import small_config


def test_saves_at_the_interval_and_at_the_end_with_that_epochs_validation(tmp_path):
    options = {f'default_hooks.checkpoint.{name}': value for name, value in (('interval', 2), ('max_keep', 5))}
    options['train_dataloader.num_batch_per_epoch'] = 2
    train(small_config(tmp_path / 'run', epochs=5, **options))
    saved = find_checkpoints(tmp_path / 'run')
    assert [path.name for path in saved] == ['epoch_2.pth', 'epoch_4.pth', 'epoch_5.pth']
    for path, epoch in zip(saved, (2, 4, 5), strict=True):
        checkpoint = read_checkpoint(path)
        assert (checkpoint['meta']['epoch'], checkpoint['meta']['iter']) == (epoch, 2 * epoch)
        assert [row['epoch'] for row in checkpoint['report']['history']] == list(range(1, epoch + 1))


def test_saves_every_so_many_minutes(tmp_path, monkeypatch):
    """A batch takes a minute; the clock restarts with each save."""
    clock = iter(range(0, 10_000, 60))
    for module in ('motivation.hooks.dual_checkpoint_hook', 'motivation.engine.optim.step'):
        monkeypatch.setattr(f'{module}.time', SimpleNamespace(monotonic=lambda: next(clock)))
    options = {'default_hooks.checkpoint.every_minutes': 3, 'default_hooks.checkpoint.max_keep': 9}
    train(small_config(tmp_path / 'run', **options))
    # At 0 training begins; batches 1, 2, 3 ask at 1, 2 and 3 minutes; the save is noted at 4; batches 4 to 6 at 5 to 7.
    names = [path.name for path in find_checkpoints(tmp_path / 'run')]
    assert names == ['epoch_0_iter_3.pth', 'epoch_0_iter_6.pth', 'epoch_1.pth']


@pytest.mark.parametrize('field', ['interval', 'max_keep'])
def test_zero_intervals_and_counts_raise(field):
    with pytest.raises(ConfigError, match=rf'^{field} must be at least 1.*, got 0$'):
        DualCheckpointHook(**{field: 0})
