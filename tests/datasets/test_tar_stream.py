import gzip
import json
import sys
from pathlib import Path

import pytest

from motivation.datasets import TimmDataset, stream_of
from motivation.errors import ConfigError
from tests.datasets.test_shards import files_of, write_shards

pytest.importorskip('webdataset')

SPLIT = 'train-{0000..0002}.tar'


def streamed(split=SPLIT, root='pipe:cat shards', **options):
    return TimmDataset(root, 'wds', split, **{'image_mode': 'L', 'num_classes': 10, **options})


def state_lengths(lengths=(5, 5, 5), splits=('train',)):
    names = [f'train-{shard:04}.tar' for shard in range(len(lengths))]
    info = {'filenames': names, 'shard_lengths': list(lengths)}
    Path('shards/_info.json').write_text(json.dumps({'splits': dict.fromkeys(splits, info)}))


@pytest.mark.parametrize('root', ['pipe:cat shards', 'file:shards'])
def test_images_and_labels_are_those_that_are_read_by_place(root):
    write_shards()
    exact, stream = TimmDataset('shards', 'wds', SPLIT, image_mode='L'), streamed(f'{SPLIT}|15', root)
    assert stream_of(exact) is None and stream_of(stream).stream.lengths is None
    assert stream.metainfo == exact.metainfo and len(stream) == len(exact) == 15
    for number in range(15):
        one, other = exact[number], stream[number]
        assert one['inputs'].equal(other['inputs']) and one['targets'] == other['targets']
    assert stream[14].name == repr(f'{root}/train-0002.tar/./000014')


def test_compressed_shards_are_read_as_a_stream_by_the_name_of_their_split():
    write_shards()
    for path in Path('shards').iterdir():
        path.with_suffix('.tar.gz').write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    for split in ('train', 'train-000{0..2}.tar.gz'):
        stream = streamed(split, 'shards', num_samples=15)
        assert [stream[number]['targets'] for number in (0, 7, 14)] == [0, 7, 4]
    with pytest.raises(ConfigError, match=r'^num_samples must be given: the data set is read as a stream and does not'):
        streamed('train', 'shards')


def test_lengths_are_those_of_the_file_that_states_them():
    write_shards()
    state_lengths()
    for split in ('train', SPLIT, f'{SPLIT}|15'):
        assert stream_of(streamed(split)).stream.lengths == [5, 5, 5]
    assert len(streamed('train-0001.tar')) == 5
    with pytest.raises(ConfigError, match=r'^num_samples is 9, and the shards hold 15; leave it out'):
        streamed('train', num_samples=9)
    with pytest.raises(
        ConfigError, match=r"^split is 'trian', which no _info\.json at 'pipe:cat shards' lists; did you mean 'train'"
    ):
        streamed('trian')
    with pytest.raises(ConfigError, match=r'^num_classes must be given: the data set is read as a stream and does not'):
        streamed(num_classes=None)


def test_labels_are_read_by_their_field_and_bad_samples_left_out():
    def some(number):
        files = files_of(number) | {'json': json.dumps({'fine': 9 - number if number != 2 else 'x'}).encode()}
        if number == 3:
            del files['png']
        return files

    write_shards(files=some, shards=1)
    stream = streamed('train-0000.tar|5', target_key='fine', on_error='skip')
    assert [stream[number].get('targets') for number in range(5)] == [9, 8, None, None, 5]
    assert [stream[number]['skipped'][1] for number in (2, 3)] == [
        'has a label that is no class index: b\'{"fine": "x"}\'',
        'has no image',
    ]


@pytest.mark.parametrize('damage', [lambda tar: tar[:1_500], lambda tar: unended(tar)])
def test_shard_that_is_cut_is_an_error_that_names_it(damage):
    write_shards(shards=1)
    path = Path('shards/train-0000.tar')
    path.write_bytes(damage(path.read_bytes()))
    stream = streamed('train-0000.tar|5')
    with pytest.raises(ConfigError, match=r"^'pipe:cat shards/train-0000\.tar' cannot be read: ReadError"):
        list(map(stream.__getitem__, range(5)))


def unended(tar):
    """Return a tar without the blocks of zeros at its end, which is cut between two members."""
    whole = tar.rstrip(b'\0')
    return whole + b'\0' * (-len(whole) % 512)


def test_failing_command_is_an_error_that_names_the_shard():
    with pytest.raises(
        ConfigError, match=r"^'pipe:false shards/train-0000\.tar' cannot be read: .*continue with --resume"
    ):
        streamed('train-0000.tar|5', 'pipe:false shards')[0]


@pytest.mark.parametrize(
    ('name', 'package', 'extra'),
    [('wds', 'webdataset', 'streams'), ('hfids/a/b', 'datasets', 'streams'), ('tfds/a', 'tensorflow_datasets', 'tfds')],
)
def test_missing_package_is_named_with_what_to_install(monkeypatch, name, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f'{package}.gopen', None)
    with pytest.raises(
        ConfigError, match=rf"^name '{name}' needs a package .*; run pip install 'motivation\[{extra}\]'"
    ):
        TimmDataset('file:shards', name, f'{SPLIT}|15', num_classes=10)
