import json
from pathlib import Path

import pytest
import torch

from motivation.datasets import stream_of
from motivation.engine.train_loop import DualTrainLoop
from motivation.errors import ConfigError
from motivation.utils.checkpoint import find_checkpoints
from tests.conftest import snapshot, train
from tests.datasets.test_shards import write_shards
from tests.small import small_config

pytest.importorskip('webdataset')


class StopError(Exception):
    pass


def streamed(**changes):
    return (
        dict(
            _delete_=True,
            type='TimmDataset',
            root='file:' + str(Path('shards').resolve()),
            name='wds',
            split='train',
            image_mode='L',
            num_classes=10,
        )
        | changes
    )


def config(work_dir, workers, **options):
    if not Path('shards').exists():
        write_shards(shards=4, samples=24)
        names = sorted(path.name for path in Path('shards').iterdir())
        info = {'splits': {'train': {'filenames': names, 'shard_lengths': [24] * 4}}}
        Path('shards/_info.json').write_text(json.dumps(info))
    of_data = {
        'train_dataloader.dataset': streamed(
            shuffle_buffer=10, transforms=[dict(type='RandomCrop', size=8, padding=2)]
        ),
        'train_dataloader.batch_size': 16,
        'train_dataloader.num_batch_per_epoch': None,
        'train_dataloader.num_workers': workers,
        'val_dataloader.dataset': streamed(),
        'val_dataloader.num_batch_per_epoch': None,
        'default_hooks.report': None,
    }
    return small_config(work_dir, **{**of_data, **options})


def test_run_on_a_stream_stopped_within_an_epoch_resumes_bit_identically_with_other_workers(tmp_path, monkeypatch):
    options = {'default_hooks.checkpoint.every_iters': 4, 'val_cfg.models': ['base'], 'val_dataloader.batch_size': 96}
    whole = train(config(tmp_path / 'whole', 2, **options))
    run_iter = DualTrainLoop.run_iter

    def stopping(loop, batch_idx, data_batch):
        if loop._iter == 5:
            raise StopError
        run_iter(loop, batch_idx, data_batch)

    with monkeypatch.context() as patched, pytest.raises(StopError):
        patched.setattr(DualTrainLoop, 'run_iter', stopping)
        train(config(tmp_path / 'cut', 2, **options))
    assert find_checkpoints(tmp_path / 'cut')[-1].name == 'epoch_0_iter_4.pth'
    resumed = train(config(tmp_path / 'cut', 0, resume=True, **options))
    assert stream_of(resumed.train_dataloader.dataset).drawing.lanes == 2
    before, after = snapshot(whole.model), snapshot(resumed.model)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_validation_of_a_stream_is_that_of_the_shards_on_the_disk(tmp_path):
    exact = streamed(root=str(Path('shards').resolve()), split='train-{0000..0003}.tar')
    options = {'model.recalibrate': 16, 'train_dataloader.num_batch_per_epoch': 1}
    scores = []
    for dataset in ({}, {'val_dataloader.dataset': exact}):
        runner = train(config(tmp_path / f'{len(scores)}', 0, **dataset, **options))
        scores.append({name: value for name, value in runner.message_hub.log_scalars.items() if 'accuracy' in name})
    one, other = ({name: value.current() for name, value in of.items()} for of in scores)
    assert one == other and len(one) == 4


def test_check_looks_at_a_stream_and_num_batch_per_epoch_cuts_its_epochs(tmp_path, capsys):
    train(config(tmp_path / 'run', 0, **{'train_cfg.type': 'CheckLoop', 'train_dataloader.num_batch_per_epoch': 4}))
    said = capsys.readouterr().out
    assert '64 of 96 images of train_dataloader read and transformed' in said
    assert '64 of 96 images of val_dataloader read and transformed' in said
    with pytest.raises(ConfigError, match=r'^train_dataloader\.num_batch_per_epoch is 7, and an epoch has 96 samples'):
        train(config(tmp_path / 'long', 0, **{'train_dataloader.num_batch_per_epoch': 7}))


def test_what_a_stream_does_not_do_is_refused_with_its_field(tmp_path):
    repeated = dict(_delete_=True, type='RepeatDataset', times=2, dataset=streamed())
    del repeated['dataset']['_delete_']
    for options, message in (
        (
            {'train_dataloader.dataset': repeated},
            r'^train_dataloader\.dataset\.dataset is read as a stream, which is no',
        ),
        (
            {'train_dataloader.type': 'DeviceDataLoader'},
            r'^train_dataloader\.dataset\.name is that of a stream, which D',
        ),
        (
            {'motivation.policy': dict(_delete_=True, type='LearningProgress')},
            r"asks for 'sample_progress', which needs to know each image again",
        ),
    ):
        with pytest.raises(ConfigError, match=message):
            train(config(tmp_path / 'run', 0, **options))
