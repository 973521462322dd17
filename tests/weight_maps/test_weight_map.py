from itertools import pairwise

import pytest
import torch
from torch import nn

from motivation.errors import ConfigError
from motivation.weight_maps import WeightMap


def network(*widths):
    return nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(widths)))


GOOD = [('0.weight', '1.weight'), ('0.bias', '1.bias')]


def test_transfer_copies_only_the_pairs():
    base, motivated = network(3, 3), network(3, 3, 3)
    before = {name: tensor.clone() for name, tensor in motivated.state_dict().items()}
    WeightMap(base, motivated, GOOD).transfer('base')
    assert torch.equal(motivated[1].weight, base[0].weight)
    assert torch.equal(motivated[1].bias, base[0].bias)
    assert torch.equal(motivated[0].weight, before['0.weight'])
    assert torch.equal(motivated[0].bias, before['0.bias'])


def test_transfer_works_in_both_directions():
    base, motivated = network(3, 3), network(3, 3, 3)
    expected = motivated[1].weight.clone()
    WeightMap(base, motivated, GOOD).transfer('motivated')
    assert torch.equal(base[0].weight, expected)
    assert torch.equal(motivated[1].weight, expected)


def test_statistics_are_transferred_only_on_request():
    base, motivated = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    base(torch.randn(4, 2, 3, 3))
    names = [(name, name) for name in base.state_dict()]
    weight_map = WeightMap(base, motivated, names)
    with torch.no_grad():
        base.weight.fill_(7)
    weight_map.transfer('base')
    assert motivated.weight.tolist() == [7, 7]
    assert motivated.running_mean.tolist() == [0, 0] and motivated.num_batches_tracked == 0
    weight_map.transfer('base', statistics=True)
    assert torch.equal(motivated.running_mean, base.running_mean)
    assert torch.equal(motivated.running_var, base.running_var)
    assert motivated.num_batches_tracked == 1


def test_other_buffers_are_transferred_with_the_weights():
    base, motivated = nn.Module(), nn.Module()
    base.register_buffer('table', torch.ones(2))
    motivated.register_buffer('table', torch.zeros(2))
    WeightMap(base, motivated, [('table', 'table')]).transfer('base')
    assert motivated.table.tolist() == [1, 1]


def test_transfer_works_after_buffers_were_replaced():
    base, motivated = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    weight_map = WeightMap(base, motivated, [(name, name) for name in base.state_dict()])
    base.double()
    motivated.double()
    base.running_mean.fill_(3)
    weight_map.transfer('base', statistics=True)
    assert motivated.running_mean.tolist() == [3, 3]


def test_extension_is_outside_every_image():
    weight_map = WeightMap(network(3, 3), network(3, 3, 3), GOOD)
    assert sorted(weight_map.extension()) == ['0.bias', '0.weight']


def tied(tie):
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    if tie:
        model[1].weight = model[0].weight
    return model


def test_tied_tensors_are_transferred():
    base, motivated = tied(True), tied(True)
    WeightMap(base, motivated, [(f'{i}.weight', f'{i}.weight') for i in range(2)]).transfer('base')
    assert motivated[1].weight is motivated[0].weight and torch.equal(motivated[0].weight, base[0].weight)


@pytest.mark.parametrize(('which', 'ties'), [('base', (True, False)), ('motivated', (False, True))])
def test_tensors_tied_in_one_model_only_are_an_error(which, ties):
    pairs = [(f'{i}.weight', f'{i}.weight') for i in range(2)]
    message = rf"'0\.weight' and '1\.weight' are one tied tensor in the {which} model but not in the other"
    with pytest.raises(ConfigError, match=message):
        WeightMap(tied(ties[0]), tied(ties[1]), pairs)


def test_frozen_tensors_are_transferred_and_must_be_frozen_in_both():
    base, motivated = network(3, 3), network(3, 3, 3)
    base[0].weight.requires_grad_(False)
    with pytest.raises(
        ConfigError, match=r"'0\.weight' is frozen in the base model and .*'1\.weight' is not; .*both or neither"
    ):
        WeightMap(base, motivated, GOOD)
    motivated[1].weight.requires_grad_(False)
    WeightMap(base, motivated, GOOD).transfer('base')
    assert torch.equal(motivated[1].weight, base[0].weight) and not motivated[1].weight.requires_grad


def test_constants_that_differ_are_an_error():
    base, motivated = nn.Module(), nn.Module()
    for model, shift in ((base, 0), (motivated, 1)):
        model.register_buffer('relative_position_index', torch.arange(4) + shift)
    with pytest.raises(ConfigError, match=r"'relative_position_index' of the base model .* have different integers"):
        WeightMap(base, motivated, [('relative_position_index', 'relative_position_index')])


def test_entries_outside_a_partial_image_are_in_the_extension():
    base, motivated = nn.Linear(2, 2), nn.Linear(3, 4)
    before = motivated.weight.detach().clone()
    weight_map = WeightMap(base, motivated, [('weight', 'weight', ((1, 3), (0, 2))), ('bias', 'bias', ((1, 3),))])
    weight_map.transfer('base')
    mask = weight_map.extension()['weight']
    assert torch.equal(motivated.weight[~mask].view(2, 2), base.weight) and torch.equal(
        motivated.weight[mask], before[mask]
    )
    assert (~mask).nonzero().tolist() == [[1, 0], [1, 2], [3, 0], [3, 2]]
    assert weight_map.extension_size == 8 + 2 and weight_map.coverage == 6 / 16


def test_transfer_allocates_no_memory():
    base, motivated = nn.Linear(20, 20), nn.Linear(30, 30)
    rows = tuple(range(20))
    weight_map = WeightMap(base, motivated, [('weight', 'weight', (rows, rows)), ('bias', 'bias', (rows,))])
    weight_map.transfer('base')
    with torch.profiler.profile(profile_memory=True) as profile:
        weight_map.transfer('base')
        weight_map.transfer('motivated')
    assert sum(event.self_cpu_memory_usage for event in profile.key_averages() if event.self_cpu_memory_usage > 0) == 0


@pytest.mark.parametrize(
    ('pairs', 'message'),
    [
        (GOOD[:1], r"gives '0\.bias' of the base model no image \(1 of 2 tensors have none\)"),
        ([*GOOD, ('0.bias', '0.bias')], r"names '0\.bias' of the base model 2 times"),
        ([('0.weight', '1.weight'), ('0.bias', '1.wait')], r"names '1\.wait', which the motivated model does not have"),
        ([('0.weight', '1.weight'), ('0.bias', '1.weight')], r'give an index, or pair tensors of equal shapes'),
    ],
)
def test_invalid_maps_are_an_error(pairs, message):
    with pytest.raises(ConfigError, match=message):
        WeightMap(network(3, 3), network(3, 3, 3), pairs)


def test_image_of_two_base_tensors_is_an_error():
    pairs = [('0.weight', '0.weight'), ('0.bias', '0.bias'), ('1.weight', '0.weight'), ('1.bias', '1.bias')]
    with pytest.raises(ConfigError, match=r"names '0\.weight' of the motivated model 2 times"):
        WeightMap(network(3, 3, 3), network(3, 3, 3), pairs)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_transfer_does_not_wait_for_the_gpu():
    base, motivated = nn.Linear(20, 20).cuda(), nn.Linear(30, 30).cuda()
    for rows in (tuple(range(20)), (*range(19), 25)):  # a view, and single rows
        weight_map = WeightMap(base, motivated, [('weight', 'weight', (rows, rows)), ('bias', 'bias', (rows,))])
        weight_map.transfer('base')
        torch.cuda.set_sync_debug_mode('error')
        try:
            weight_map.transfer('base')
            weight_map.transfer('motivated')
        finally:
            torch.cuda.set_sync_debug_mode('default')
        assert torch.equal(base.weight, motivated.weight[list(rows)][:, list(rows)])
