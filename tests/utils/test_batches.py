"""Batches of any structure: number of samples, first sample, shapes."""

import pytest
import torch

from motivation.errors import ConfigError
from motivation.utils.batches import (
    article,
    first_sample,
    network_inputs,
    noun_of,
    repeated,
    run_network,
    sample_text,
    samples_in,
    shapes_in,
    split,
)

IMAGES = {'inputs': torch.zeros(3, 1, 4, 4), 'targets': torch.zeros(3, dtype=torch.long)}
NESTED = {'inputs': {'tokens': torch.arange(6).view(3, 2), 'length': torch.tensor([2, 1, 2])}, 'names': ['a', 'b', 'c']}
# Results of torch's default_collate for samples of two parts, and of MMEngine's pseudo_collate.
PARTS = {'inputs': [torch.zeros(2, 5), torch.zeros(2, 7)], 'targets': torch.zeros(2)}
LISTS = {'inputs': [torch.zeros(5), torch.zeros(5)], 'targets': [1, 0]}


@pytest.mark.parametrize(('batch', 'samples'), [(IMAGES, 3), (NESTED, 3), (PARTS, 2), (LISTS, 2)])
def test_samples_are_counted_in_any_container(batch, samples):
    assert samples_in(batch) == samples
    for count in (1, 4, 9):
        again = repeated(first_sample(batch), count)
        assert samples_in(again) == count and shapes_in(again) == shapes_in(batch)


@pytest.mark.parametrize(
    'batch',
    [
        {'inputs': torch.zeros(3, 5), 'targets': torch.zeros(1)},
        {'inputs': [torch.zeros(5)] * 3},
        {'tokens': torch.zeros(3, 5), 'mask': torch.zeros(3)},
        (torch.zeros(3, 5), torch.zeros(3)),
        [torch.zeros(3, 5)],
        torch.zeros(3, 5),
    ],
)
def test_samples_are_counted_by_the_inputs(batch):
    assert samples_in(batch) == 3


def test_first_sample_has_the_first_entry_of_every_field():
    first = first_sample(NESTED)
    assert first['inputs']['tokens'].tolist() == [[0, 1]] and first['inputs']['length'].tolist() == [2]
    assert first['names'] == ['a'] and repeated(first, 3)['names'] == ['a'] * 3
    assert [part.shape for part in first_sample(PARTS)['inputs']] == [(1, 5), (1, 7)]
    assert len(first_sample(LISTS)['inputs']) == 1 and first_sample(LISTS)['targets'] == [1]
    weights = {**IMAGES, 'weights': torch.ones(10), 'scale': torch.tensor(2.0), 'epoch': 4}
    assert first_sample(weights)['weights'].shape == (10,) and first_sample(weights)['epoch'] == 4


def test_shapes_and_dtypes_distinguish_batches():
    assert shapes_in(NESTED) == (('inputs.tokens', (2,), torch.int64), ('inputs.length', (), torch.int64))
    assert shapes_in(IMAGES) != shapes_in({**IMAGES, 'inputs': IMAGES['inputs'].byte()})
    with pytest.raises(
        ConfigError, match=r"'inputs' of different shapes, \(4,\) and \(5,\); .* a collate_fn that pads"
    ):
        shapes_in({'inputs': [torch.zeros(5), torch.zeros(4)], 'targets': [1, 0]})
    with pytest.raises(ConfigError, match=r'^the batch is a dict without tensors or lists; give the data loader'):
        samples_in({'inputs': 3})


def test_noun_is_image_for_images_and_sample_otherwise():
    assert noun_of(IMAGES) == 'image' and [noun_of(batch) for batch in (NESTED, PARTS, LISTS, None)] == ['sample'] * 4
    assert sample_text(IMAGES) == 'images of (1, 4, 4)'
    assert sample_text(NESTED) == 'samples of inputs.tokens (2,) int64 and inputs.length () int64'
    assert [article('image'), article('sample')] == ['an image', 'a sample']


def test_networks_are_called_with_inputs_by_position_and_others_by_name():
    batch = {'mask': torch.ones(2), 'inputs': torch.full((2,), 3.0), 'targets': torch.zeros(2)}
    inputs = network_inputs(torch.nn.Identity(), batch)
    assert list(inputs) == ['mask', 'inputs']
    assert run_network(lambda x, mask: x + mask, inputs).tolist() == [4.0, 4.0]
    assert run_network(lambda x: x, batch['inputs']).tolist() == [3.0, 3.0]


@pytest.mark.parametrize(
    ('samples', 'parts', 'sizes'), [(10, 4, [3, 3, 2, 2]), (8, 4, [2] * 4), (5, 4, [3, 2]), (3, 2, [3]), (7, 1, [7])]
)
def test_micro_batches_have_sizes_as_equal_as_possible_and_at_least_two_samples(samples, parts, sizes):
    batch = {'inputs': torch.arange(samples), 'names': [*map(str, range(samples))], 'scale': torch.tensor(2.0)}
    result = split(batch, parts)
    assert [samples_in(part) for _, part in result] == sizes
    assert [share for share, _ in result] == [size / samples for size in sizes]
    assert torch.cat([part['inputs'] for _, part in result]).equal(batch['inputs'])
    assert [name for _, part in result for name in part['names']] == batch['names']
    assert all(part['scale'].equal(batch['scale']) for _, part in result)


def test_batches_in_lists_and_nested_batches_are_split():
    images, labels = torch.arange(4), torch.arange(4, 8)
    assert [[tensor.tolist() for tensor in part] for _, part in split([images, labels], 2)] == [
        [[0, 1], [4, 5]],
        [[2, 3], [6, 7]],
    ]
    parts = [part['inputs']['tokens'].tolist() for _, part in split({**repeated(first_sample(NESTED), 4)}, 2)]
    assert parts == [[[0, 1]] * 2] * 2
