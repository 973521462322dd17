"""Models whose weights keep the channels of a pixel together train and transfer like others."""

import pytest
import torch

from motivation.models import DualModel
from tests.conftest import classifier, small_batch, small_dual_model
from tests.models.test_dual_model import optimizers

CHANNELS_LAST = torch.channels_last


def dual(weight_map, channels_last):
    torch.manual_seed(0)
    return DualModel(
        base=classifier('cifar_resnet8', width=8),
        motivated=classifier('cifar_resnet20', width=12),
        weight_map=weight_map,
        extension='default',
        channels_last=channels_last,
    )


@pytest.mark.parametrize(
    'weight_map', [dict(channels='leading'), dict(channels='seeded', seed=1)], ids=['leading', 'seeded']
)
def test_transfers_are_the_same_in_both_memory_formats(weight_map):
    plain, last = dual(weight_map, False), dual(weight_map, True)
    for switch in ('activate', 'deactivate'):
        for model in (plain, last):
            getattr(model, switch)()
            with torch.no_grad():
                for parameter in getattr(model, model.active).parameters():
                    parameter.mul_(2)
        for name, tensor in plain.state_dict().items():
            assert tensor.equal(last.state_dict()[name]), (switch, name)


def test_memory_format_survives_training_and_transfers():
    model = small_dual_model().train()
    last = DualModel(
        base=classifier('cifar_resnet8'), motivated=classifier('cifar_resnet20'), channels_last=True
    ).train()
    last.load_state_dict(model.state_dict())
    losses = []
    for one in (model, last):
        wrappers = optimizers(one)
        for switch in (one.activate, one.deactivate):
            losses.append(one.train_step(small_batch(), wrappers)['loss'].item())
            switch()
    assert losses[2:] == pytest.approx(losses[:2], rel=1e-4)
    convolution = last.motivated.get_submodule('backbone.layer1.0.conv1')
    momentum = wrappers['base'].optimizer.state[last.base.get_submodule('backbone.layer1.0.conv1').weight]
    for tensor in (convolution.weight, convolution(torch.rand(2, 16, 8, 8)), momentum['momentum_buffer']):
        assert tensor.is_contiguous(memory_format=CHANNELS_LAST) and not tensor.is_contiguous()
