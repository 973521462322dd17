import os
import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from motivation.errors import ConfigError
from motivation.utils import checkpoint as module
from motivation.utils.checkpoint import (
    check_fits,
    find_checkpoints,
    from_plain,
    read_checkpoint,
    to_plain,
    write_checkpoint,
)


def test_plain_data_loads_without_an_allow_list(tmp_path):
    history = HistoryBuffer()
    history.update(1.5)
    history.update(np.float64(0.5), 3)
    content = {
        'state_dict': {},
        'history': history,
        'scalar': np.float32(2),
        'array': np.arange(3),
        'pair': (1, np.int64(2)),
    }
    write_checkpoint(content, tmp_path / 'epoch_1.pth')
    assert torch.serialization.get_unsafe_globals_in_checkpoint(tmp_path / 'epoch_1.pth') == []
    read = read_checkpoint(tmp_path / 'epoch_1.pth')
    assert read['scalar'] == 2.0 and type(read['scalar']) is float
    assert read['array'].tolist() == [0, 1, 2]
    assert read['pair'] == (1, 2)
    restored = from_plain(read)['history']
    assert [part.tolist() for part in restored.data] == [[1.5, 0.5], [1, 3]]


def test_to_plain_does_not_change_its_argument():
    tensor = torch.ones(2, requires_grad=True)
    original = {'a': [tensor]}
    assert to_plain(original)['a'][0].requires_grad is False
    assert original['a'][0] is tensor and tensor.requires_grad


def test_failed_write_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / 'epoch_1.pth'
    write_checkpoint({'state_dict': {}, 'run': 1}, path)

    def full_disk(content, file):
        file.write(b'half')
        raise OSError('No space left on device')

    monkeypatch.setattr(module.torch, 'save', full_disk)
    with pytest.raises(OSError, match='No space'):
        write_checkpoint({'state_dict': {}, 'run': 2}, path)
    monkeypatch.undo()
    assert read_checkpoint(path)['run'] == 1
    assert find_checkpoints(tmp_path) == [path]


def test_malicious_pickle_is_an_error_and_does_not_run(tmp_path):
    class Crafted:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'ran'),)

    for name, writer in (('pickle', pickle.dump), ('torch', torch.save)):
        with (tmp_path / name).open('wb') as file:
            writer({'state_dict': Crafted()}, file)
        with pytest.raises(
            ConfigError, match=r'is damaged or not a checkpoint|has more than plain data and was not loaded'
        ):
            read_checkpoint(tmp_path / name)
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize('kept', [0, 1, 0.5])
def test_truncated_file_is_an_error(tmp_path, kept):
    path = tmp_path / 'epoch_1.pth'
    write_checkpoint({'state_dict': {'a': torch.randn(100)}}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept < 1 else 1])
    with pytest.raises(ConfigError, match=r"epoch_1\.pth' is damaged"):
        read_checkpoint(path)


def test_newest_checkpoint_is_that_of_the_highest_number(tmp_path):
    for name in ('epoch_9.pth', 'epoch_10.pth', 'epoch_x.pth', '.epoch_11.pth.part', 'base.pth'):
        (tmp_path / name).touch()
    assert [path.name for path in find_checkpoints(tmp_path)] == ['epoch_9.pth', 'epoch_10.pth']


@pytest.mark.parametrize(
    ('network', 'message'),
    [
        (torch.nn.Linear(3, 2, bias=False), r"'bias' is not in the model"),
        (torch.nn.Linear(4, 2), r"'weight' is \(2, 3\) in the checkpoint and \(2, 4\) in the model"),
        (torch.nn.BatchNorm1d(2), r"it lacks 'running_mean'|'weight' is \(2, 3\)"),
    ],
)
def test_checkpoint_of_other_models_names_the_first_tensor(tmp_path, network, message):
    with pytest.raises(ConfigError, match=message):
        check_fits(torch.nn.Linear(3, 2).state_dict(), network, tmp_path / 'epoch_1.pth')
