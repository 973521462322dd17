"""Example inputs of a network."""

import pytest
import timm
import torch
from torch import nn

from motivation.errors import ConfigError
from motivation.models import TimmClassifier
from motivation.utils.example import BatchExample, ImageExample, TensorExample, find_example, noun_of_model


class Tokens(nn.Linear):
    def example_batch(self, samples):
        return {
            'inputs': torch.randint(7, (samples, 5)),
            'mask': torch.ones(samples, 5),
            'targets': torch.zeros(samples),
        }


def test_given_inputs_take_precedence_over_those_of_the_model():
    tokens, image_model = Tokens(2, 2), timm.create_model('test_resnet')
    given = torch.tensor([[1, 4]])
    assert find_example(tokens) == BatchExample(tokens)
    assert find_example(tokens, (3, 8, 8)) == find_example(nn.Linear(2, 2), (3, 8, 8)) == ImageExample((3, 8, 8))
    assert find_example(image_model) == ImageExample(tuple(image_model.pretrained_cfg['input_size']))
    assert isinstance(find_example(image_model, None, given), TensorExample)
    tokens.input_size = 5  # what it means is not known
    assert find_example(tokens) == BatchExample(tokens)
    tokens.input_size = (3, 8, 8)
    assert find_example(tokens) == ImageExample((3, 8, 8))
    assert [noun_of_model(model) for model in (image_model, Tokens(2, 2), nn.Linear(2, 2))] == [
        'image',
        'sample',
        'sample',
    ]


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (
            dict(),
            r'^the size of the images that Linear takes is not known; .*example_batch\(samples\), or AutoMap an example_',
        ),
        (
            dict(input_size=(3, 8)),
            r'^input_size must be \(channels, height, width\), such as \(3, 32, 32\), got \(3, 8\)$',
        ),
        (
            dict(example_input=torch.tensor(3)),
            r'^example_input must be a tensor of samples, \(N, \.\.\.\), got tensor\(3\)',
        ),
        (dict(input_size=(3, 8, 8), example_input=torch.zeros(1, 2)), '^example_input and input_size are both given'),
    ],
)
def test_invalid_examples_are_an_error(given, message):
    with pytest.raises(ConfigError, match=message):
        find_example(nn.Linear(2, 2), **given)


def test_inputs_are_random_reproducible_and_have_the_dtype_of_the_model():
    model, before = Tokens(2, 2).double(), torch.get_rng_state()
    first, second, other = (BatchExample(model).inputs(model, 3, seed) for seed in (0, 0, 1))
    assert first.keys() == {'inputs', 'mask'} and first['mask'].dtype == torch.float64
    assert first['inputs'].dtype == torch.int64 and first['inputs'].shape == (3, 5)
    assert torch.equal(first['inputs'], second['inputs']) and not torch.equal(first['inputs'], other['inputs'])
    assert ImageExample((3, 2, 2)).inputs(model, 2)['inputs'].dtype == torch.float64
    known = TensorExample(torch.tensor([[2, 5, 9]])).inputs(model, 50)['inputs']
    assert known.shape == (50, 3) and set(known.flatten().tolist()) == {2, 5, 9}
    assert torch.equal(torch.get_rng_state(), before)


def test_only_images_are_reduced_in_size():
    assert [str(smaller) for smaller in ImageExample((3, 200, 300)).smaller()] == [
        'images of (3, 64, 64)', 'images of (3, 128, 128)'
    ]  # fmt: skip
    assert [*BatchExample(Tokens(2, 2)).smaller()] == [] == [*ImageExample((3, 32, 32)).smaller()]


def test_example_batch_of_a_classifier_has_the_format_of_the_data_loader():
    model = TimmClassifier('cifar_resnet8', 10, in_chans=1, mean=[0.5], std=[0.5])
    batch = model.example_batch(4)
    assert batch['inputs'].shape == (4, 1, 32, 32) and batch['inputs'].dtype == torch.uint8
    assert batch['targets'].shape == (4,) and batch['targets'].max() < 10
    assert model.data_preprocessor(batch)['inputs'].min() >= -1
