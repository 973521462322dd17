import io
from pathlib import Path

import pytest
from PIL import Image

from motivation.datasets import TimmDataset, stream_of
from motivation.errors import ConfigError

datasets = pytest.importorskip('datasets')

LENGTHS = [7, 3, 5]


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setattr(datasets.config, 'HF_HUB_OFFLINE', True)


def png(number):
    file = io.BytesIO()
    Image.new('L', (4, 4), number).save(file, 'PNG')
    return file.getvalue()


def write_parquet(names=('a', 'b', 'c'), key='image'):
    """Write images of the grey levels 0 to 14 into three files."""
    label = datasets.ClassLabel(names=list(names)) if names else datasets.Value('int64')
    features = datasets.Features({key: datasets.Image(), 'label': label})
    Path('set').mkdir()
    for shard, length in enumerate(LENGTHS):
        numbers = range(sum(LENGTHS[:shard]), sum(LENGTHS[:shard]) + length)
        images = [{'bytes': png(number), 'path': None} for number in numbers]
        data = {key: images, 'label': [number % 3 for number in numbers]}
        datasets.Dataset.from_dict(data, features).to_parquet(f'set/train-{shard:05}-of-00003.parquet')


def streamed(**options):
    name = f'hfids/{Path("set").resolve()}'
    return TimmDataset('cache', name, **{'image_mode': 'L', **options})


def test_images_labels_classes_and_lengths_are_those_of_the_files():
    write_parquet()
    dataset = streamed()
    assert dataset.metainfo['classes'] == ['a', 'b', 'c']
    assert stream_of(dataset).stream.lengths == LENGTHS
    assert [(int(dataset[number]['inputs'][0, 0, 0]), dataset[number]['targets']) for number in (0, 6, 7, 14)] == [
        (0, 0), (6, 0), (7, 1), (14, 2),
    ]  # fmt: skip
    assert dataset[8].name.endswith("train-00001-of-00003.parquet, sample 1'")
    assert not list(Path('cache').rglob('*.arrow'))  # nothing is copied


def test_samples_can_be_read_from_any_on():
    write_parquet()
    stream = stream_of(streamed()).stream
    assert [[sample.target for sample in stream.read(shard, first)] for shard, first in ((0, 5), (1, 0), (2, 4))] == [
        [2, 0], [1, 2, 0], [2],
    ]  # fmt: skip


def test_what_the_data_set_does_not_state_must_be_given():
    write_parquet(names=(), key='picture')
    with pytest.raises(
        ConfigError, match=r"^input_key is 'image', of which '.*set' has no field; there is label, pict"
    ):
        streamed()
    with pytest.raises(ConfigError, match=r"^input_key is 'label', whose values are no images"):
        streamed(input_key='label')
    with pytest.raises(ConfigError, match=r'^num_classes must be given: '):
        streamed(input_key='picture')
    assert streamed(input_key='picture', num_classes=4).metainfo['classes'] == ['0', '1', '2', '3']
    with pytest.raises(ConfigError, match=r'^num_samples must be at least 1 or None, got 0'):
        streamed(input_key='picture', num_samples=0)
    with pytest.raises(
        ConfigError, match=r'^download is True, which streams do not take; leave it out, they take num_'
    ):
        streamed(download=True)
