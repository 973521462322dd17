import pytest
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import LogProcessor

from motivation.engine.loggers.log_histories import HistoryBounds, history_bounds
from motivation.utils.checkpoint import read_checkpoint
from tests.conftest import tiny_config, train


@pytest.mark.parametrize(
    ('windows', 'bounds'),
    [
        ((1,), HistoryBounds(1, 7)),
        ((10, 3), HistoryBounds(10, 10)),
        ((1, 50), HistoryBounds(50, 50)),
        ((1, 'epoch'), HistoryBounds(40, 7)),
        ((1, 'global'), HistoryBounds(None, None)),
    ],
)
def test_bounds_are_the_longest_windows_of_the_log(windows, bounds):
    custom = [dict(data_src='loss', method_name='mean', window_size=window) for window in windows[1:]]
    processor = LogProcessor(window_size=windows[0], custom_cfg=custom)
    assert history_bounds(processor, train_batches=40, evaluation_batches=7) == bounds


def test_longer_histories_drop_their_oldest_values():
    hub = MessageHub('bounded')
    hub.log_scalars['train/loss'] = HistoryBuffer(list(range(100)), [1] * 100)
    HistoryBounds(3, None).apply(hub)
    hub.update_scalar('train/loss', 100)
    assert hub.get_scalar('train/loss').data[0].tolist() == [98, 99, 100]


def test_checkpoint_size_does_not_grow_with_the_run(tmp_path):
    runner = train(tiny_config(tmp_path / 'run', epochs=3))
    assert runner.iter == 18
    scalars = read_checkpoint(tmp_path / 'run/epoch_3.pth')['message_hub']['log_scalars']
    lengths = {name: len(entry['history_buffer'][0]) for name, entry in scalars.items()}
    assert 'train/loss' in lengths and 'val/base/accuracy/top1' in lengths
    batches = len(runner.val_dataloader)
    assert {name: length for name, length in lengths.items() if name.startswith('train/') and length > 1} == {}
    assert max(lengths.values()) <= max(batches, 1)
