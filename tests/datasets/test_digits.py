import pytest
import torch
from sklearn.datasets import load_digits

from motivation.datasets import DigitsDataset
from motivation.errors import ConfigError


def test_splits_contain_every_digit_once():
    train, test = DigitsDataset('train'), DigitsDataset('test')
    assert (len(train), len(test)) == (1437, 360)
    images = torch.cat([part.source.images for part in (train, test)]).flatten(1)
    original = torch.from_numpy(load_digits().images).flatten(1)
    as_rows = lambda rows: sorted(map(tuple, rows.tolist()))  # noqa: E731
    assert as_rows(images) == as_rows((original * 255 / 16).round().to(torch.uint8))


def test_item_is_a_greyscale_image_with_its_class():
    item = DigitsDataset('test')[0]
    assert item['inputs'].shape == (1, 8, 8) and item['inputs'].dtype == torch.uint8
    assert 0 <= item['targets'] <= 9
    assert DigitsDataset('test').metainfo['classes'] == [str(digit) for digit in range(10)]


def test_config_states_the_mean_and_deviation_of_the_training_images():
    pixels = DigitsDataset('train').source.images / 255
    assert pixels.mean().item() == pytest.approx(0.3054, abs=5e-5)
    assert pixels.std().item() == pytest.approx(0.3760, abs=5e-5)


def test_refuses_an_unknown_split():
    with pytest.raises(ConfigError, match=r"^split must be 'train' or 'test', got 'val'$"):
        DigitsDataset('val')
