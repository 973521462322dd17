"""Need TensorFlow, which the other tests do without."""

import numpy as np
import pytest
from mmengine.dataset import DefaultSampler
from torch.utils.data import DataLoader

from motivation.datasets import TimmDataset, collate_images, stream_of
from motivation.errors import ConfigError

tfds = pytest.importorskip('tensorflow_datasets')


def images(numbers):
    import tensorflow as tf

    signature = {'image': tf.TensorSpec((4, 4, 1), tf.uint8), 'label': tf.TensorSpec((), tf.int64)}
    samples = [{'image': np.full((4, 4, 1), number, np.uint8), 'label': number % 3} for number in numbers]
    return tf.data.Dataset.from_generator(lambda: iter(samples), output_signature=signature)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Return a folder with a prepared data set in four files, of the grey levels 0 to 29."""
    path = tmp_path_factory.mktemp('data')
    features = {
        'image': tfds.features.Image(shape=(4, 4, 1), encoding_format='png'),
        'label': tfds.features.ClassLabel(names=['a', 'b', 'c']),
    }
    builder = tfds.dataset_builders.TfDataBuilder(
        name='tiny',
        version='1.0.0',
        data_dir=path,
        split_datasets={'train': images(range(30))},
        features=tfds.features.FeaturesDict(features),
    )
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=4))
    return str(path)


def levels(batches):
    return [int(level) for batch in batches for level in batch['inputs'][:, 0, 0, 0]]


@pytest.mark.parametrize('workers', [0, 2])
def test_every_image_comes_once_an_epoch_and_the_rest_again_after_a_stop(folder, workers):
    dataset = TimmDataset(folder, 'tfds/tiny', 'train', image_mode='L', shuffle_buffer=5)
    assert dataset.metainfo['classes'] == ['a', 'b', 'c'] and sum(stream_of(dataset).stream.lengths) == 30
    assert all(dataset[number]['targets'] == dataset[number]['inputs'][0, 0, 0] % 3 for number in (0, 13, 29))
    sampler = DefaultSampler(dataset, True, 0)
    loader = DataLoader(dataset, 4, sampler=sampler, num_workers=workers, collate_fn=collate_images)
    stream_of(dataset).follow(loader)
    whole = levels(loader)
    assert sorted(whole) == list(range(30)) and whole != sorted(whole)
    loader.batch_sampler.sampler.begin = 16
    assert workers or levels(loader) == whole[16:]


def test_what_the_data_set_lacks_is_refused(folder):
    with pytest.raises(
        ConfigError, match=r"^split is 'train\[:9\]', and a stream takes whole splits; did you mean 'tr"
    ):
        TimmDataset(folder, 'tfds/tiny', 'train[:9]')
    with pytest.raises(ConfigError, match=r"^target_key is 'lable', which 'tiny' lacks; did you mean 'label'"):
        TimmDataset(folder, 'tfds/tiny', 'train', target_key='lable')
