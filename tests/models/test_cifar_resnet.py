import pytest
import timm
import torch

import motivation.models  # noqa: F401, registers cifar_resnet*


def expected_parameters(depth, classes):
    """Count the weights of the networks of He et al., section 4.2, with 1 x 1 shortcuts, from the widths."""
    blocks = (depth - 2) // 6
    norm = lambda width: 2 * width  # noqa: E731
    total = 3 * 16 * 9 + norm(16)
    before = 16
    for width in (16, 32, 64):
        for _ in range(blocks):
            total += before * width * 9 + width * width * 9 + 2 * norm(width)
            if before != width:
                total += before * width + norm(width)
            before = width
    return total + 64 * classes + classes


@pytest.mark.parametrize('depth', [8, 20, 32, 44, 56, 110])
def test_has_the_parameters_of_the_paper(depth):
    model = timm.create_model(f'cifar_resnet{depth}', num_classes=10)
    assert sum(parameter.numel() for parameter in model.parameters()) == expected_parameters(depth, 10)


def test_resnet20_has_272474_parameters():
    assert expected_parameters(20, 10) == 272_474


def test_stages_have_32_16_and_8_pixels():
    model = timm.create_model('cifar_resnet20', num_classes=10)
    shapes = {}
    for name in ('layer1', 'layer2', 'layer3'):
        getattr(model, name).register_forward_hook(
            lambda _, __, out, name=name: shapes.update({name: tuple(out.shape)})
        )
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    assert shapes == {'layer1': (1, 16, 32, 32), 'layer2': (1, 32, 16, 16), 'layer3': (1, 64, 8, 8)}


def test_accepts_the_arguments_of_timm():
    model = timm.create_model('cifar_resnet8', num_classes=3, in_chans=1, drop_rate=0.1)
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 3)
    model.reset_classifier(7)
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 7)


def test_weights_that_timm_would_have_to_download_are_an_error():
    with pytest.raises(RuntimeError, match=r'^No pretrained weights exist for cifar_resnet20\. Use `pretrained=False`'):
        timm.create_model('cifar_resnet20', pretrained=True)
