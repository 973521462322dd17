import io
import json
import tarfile
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageFile

from motivation.datasets import TimmDataset
from motivation.datasets.image_dataset import TensorImages
from motivation.engine.train_loop import DualTrainLoop
from motivation.errors import ConfigError
from motivation.utils.checkpoint import find_checkpoints
from tests.conftest import digits_config, snapshot, train

CLASSES = 10


def files_of(number, file_format='PNG', size=(8, 8)):
    """Return the files of a sample by extension, as WebDataset tools write them."""
    torch.manual_seed(number)
    file = io.BytesIO()
    Image.frombytes('L', size, bytes(torch.randint(0, 256, (size[0] * size[1],)).tolist())).save(file, file_format)
    label = {'label': number % CLASSES}
    return {
        'cls': f'{number % CLASSES}\n'.encode(),
        file_format.lower(): file.getvalue(),
        'json': json.dumps(label).encode(),
    }


def write_shards(root='shards', shards=3, samples=5, files=files_of):
    Path(root).mkdir()
    for shard in range(shards):
        with tarfile.open(f'{root}/train-{shard:04}.tar', 'w') as tar:
            for number in range(shard * samples, (shard + 1) * samples):
                for extension, data in files(number).items():
                    info = tarfile.TarInfo(f'./{number:06}.{extension}')
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))


def shards(split='train-{0000..0002}.tar', **options):
    return TimmDataset('shards', 'wds', split, image_mode='L', **options)


@pytest.mark.parametrize('cache_mib', [0, 1024])
def test_images_and_labels_are_those_of_the_shards_in_order(cache_mib):
    write_shards()
    dataset = shards(cache_mib=cache_mib)
    assert isinstance(dataset.source, TensorImages) == bool(cache_mib)
    assert dataset.metainfo['classes'] == [str(index) for index in range(CLASSES)]
    assert len(dataset) == 15
    for number in (14, 0, 7):  # in any order
        torch.manual_seed(number)
        assert torch.equal(dataset[number]['inputs'].flatten(), torch.randint(0, 256, (64,)).to(torch.uint8))
        assert dataset[number]['targets'] == number % CLASSES
        assert dataset[number].name == repr(f'shards/train-{number // 5:04}.tar/./{number:06}')


def test_images_are_not_decoded_at_the_start(monkeypatch):
    write_shards(files=lambda number: files_of(number, 'JPEG', (8 + number, 8)), shards=3)
    loaded, load = [], ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, 'load', lambda image: loaded.append(image) or load(image))
    dataset = shards(decoder='pillow')
    assert len(set(map(id, loaded))) <= 2  # the two of which the sizes differ
    assert [dataset[number]['inputs'].shape[2] for number in (2, 14)] == [10, 22]


def test_every_way_to_name_shards_names_the_same():
    write_shards()
    names = [path.name for path in sorted(Path('shards').iterdir())]
    info = {'splits': {'some': {'filenames': names[:2], 'shard_lengths': [5, 5]}}}
    for split in ('train', 'train-000{0,1,2}.tar', f'{names[0]}::train-{{0001..0002}}.tar|15'):
        assert len(shards(split)) == 15
    Path('shards/_info.json').write_text(json.dumps(info))
    assert len(shards('some')) == 10
    Path('shards/val').mkdir()
    Path(f'shards/{names[0]}').rename('shards/val/0.tar')
    assert len(shards('val')) == 5


@pytest.mark.parametrize(
    'content',
    [b'', b'{', b'\xff', b'[]', b'{"splits": []}', b'{"splits": {"some": []}}', b'{"splits": {"some": {"filenames": "a"}}}',
     b'{"splits": {"some": {"filenames": [1]}}}'],
)  # fmt: skip
def test_broken_list_of_shards_is_named(content):
    write_shards()
    Path('shards/_info.json').write_bytes(content)
    with pytest.raises(
        ConfigError,
        match=r"^root holds 'shards/_info\.json', which is not a JSON file like \{\"splits\".*; correct it, or remove",
    ) as caught:
        shards('some')
    assert '\n' not in str(caught.value)


def test_labels_in_json_are_read_by_their_field():
    def reversed_labels(number):
        return files_of(number) | {'json': json.dumps({'fine': 9 - number % 10}).encode(), 'cls': b'x'}

    write_shards(files=reversed_labels)
    assert [shards(target_key='fine')[number]['targets'] for number in (0, 1, 14)] == [9, 8, 5]
    with pytest.raises(
        ConfigError, match=r"the label of 'shards/train-0000\.tar/\./000000' is no class index, an integer: b'x'"
    ):
        shards()


def test_samples_without_image_or_label_are_left_out_and_named(monkeypatch):
    said = []
    monkeypatch.setattr('motivation.datasets.opening.print_log', lambda message, *_: said.append(message))

    def some(number):
        files = files_of(number)
        if number == 3:
            del files['cls']
        if number == 8:
            files['txt'] = files.pop('png')
        return files

    write_shards(files=some)
    assert len(shards()) == 13
    names = [f'shards/train-000{number // 5}.tar/./{number:06}' for number in (3, 8)]
    assert said == [f"'shards': samples skipped, without image or class index: 2 ({names[0]!r}, {names[1]!r})"]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (
            dict(split='train-{0002..0003}.tar'),
            r"^split is 'train-.*, but there is no file 'shards/train-0003\.tar'; cor",
        ),
        (
            dict(split='http://a/0.tar'),
            '^num_samples must be given: the data set is read as a stream and does not state how',
        ),
        (
            dict(split='val'),
            r"^split is 'val', of which 'shards' has no shards; give the names of the shards, as 'train-",
        ),
        (
            dict(class_map='names.txt'),
            r"^class_map is 'names\.txt', which shards do not take; leave it out, they take inp",
        ),
        (
            dict(input_key='webp'),
            r"^root 'shards' cannot be opened as 'wds': Found 0 samples with image or class index",
        ),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(arguments, message):
    write_shards()
    with pytest.raises(ConfigError, match=message):
        shards(**arguments)


def test_broken_image_in_a_shard_is_named_or_left_out():
    write_shards(files=lambda number: files_of(number) | ({'png': b'no image'} if number == 6 else {}))
    skipping = shards(on_error='skip', cache_mib=0)
    name = repr('shards/train-0001.tar/./000006')
    assert skipping[6] == {'skipped': (name, 'is unreadable: it is empty or not an image')}
    with pytest.raises(ConfigError, match=rf'^{name} is unreadable'):
        shards()


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        for number in range(4):
            yield Image.new('L', (4, 4), number), number


def test_stream_is_read_into_memory_if_asked(monkeypatch):
    monkeypatch.setattr('motivation.datasets.opening.create_dataset', lambda *_, **__: Stream())
    assert [int(TimmDataset('', 'tfds/some', in_memory=True)[number]['targets']) for number in range(4)] == [0, 1, 2, 3]


class StopError(Exception):
    pass


def test_run_on_shards_stopped_within_an_epoch_resumes_bit_identically(tmp_path, monkeypatch):
    write_shards(shards=4, samples=24)
    data = dict(
        _delete_=True,
        type='TimmDataset',
        root=str(Path('shards').resolve()),
        name='wds',
        image_mode='L',
        cache_mib=0,
        transforms=[dict(type='RandomCrop', size=8, padding=2)],
    )
    options = {
        'train_dataloader.dataset': data,
        'train_dataloader.batch_size': 16,
        'train_dataloader.num_workers': 2,
        'default_hooks.checkpoint.every_iters': 2,
        'default_hooks.report': None,
        'val_cfg.models': ['base'],
    }
    whole = train(digits_config(tmp_path / 'whole', 1, **options))
    run_iter = DualTrainLoop.run_iter

    def stopping(loop, batch_idx, data_batch):
        if loop._iter == 5:
            raise StopError
        run_iter(loop, batch_idx, data_batch)

    monkeypatch.setattr(DualTrainLoop, 'run_iter', stopping)
    with pytest.raises(StopError):
        train(digits_config(tmp_path / 'cut', 1, **options))
    monkeypatch.undo()
    assert find_checkpoints(tmp_path / 'cut')[-1].name == 'epoch_0_iter_4.pth'
    resumed = train(digits_config(tmp_path / 'cut', 1, resume=True, **options))
    before, after = snapshot(whole.model), snapshot(resumed.model)
    assert all(torch.equal(before[name], after[name]) for name in before)
