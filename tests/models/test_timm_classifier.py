import pytest
import torch
from torch.nn import functional as F

from motivation.errors import ConfigError
from motivation.models import TimmClassifier


def batch(channels=3, size=32):
    torch.manual_seed(0)
    return {
        'inputs': torch.randint(0, 256, (4, channels, size, size), dtype=torch.uint8),
        'targets': torch.tensor([0, 1, 2, 1]),
    }


def loss_of(model, data):
    return model(**model.data_preprocessor(data, True), mode='loss')['loss']


@pytest.mark.parametrize('name', ['test_resnet', 'test_efficientnet'])
def test_loss_is_the_cross_entropy_of_the_normalised_images(name):
    model = TimmClassifier(name, num_classes=3, mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.4]).eval()
    data = batch()
    images = (data['inputs'] / 255 - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor([0.2, 0.3, 0.4]).view(
        3, 1, 1
    )
    expected = F.cross_entropy(model.backbone(images), data['targets'])
    torch.testing.assert_close(loss_of(model, data), expected)


def test_label_smoothing_spreads_the_target():
    model = TimmClassifier('test_resnet', num_classes=3, label_smoothing=0.2).eval()
    data = batch()
    logits = model.backbone(model.data_preprocessor(data)['inputs'])
    torch.testing.assert_close(loss_of(model, data), F.cross_entropy(logits, data['targets'], label_smoothing=0.2))


def test_mixup_trains_on_mixed_images_and_validates_on_plain_ones():
    model = TimmClassifier('test_resnet', num_classes=3, mixup=dict(mixup_alpha=1.0))
    data = batch()
    plain, mixed = model.data_preprocessor(data, False), model.data_preprocessor(data, True)
    assert plain['targets'].shape == (4,) and mixed['targets'].shape == (4, 3)
    torch.testing.assert_close(mixed['targets'].sum(dim=1), torch.ones(4))
    assert not torch.equal(plain['inputs'], mixed['inputs'])
    assert loss_of(model, data).isfinite()
    assert len(model.val_step(data)) == 4


def test_mixup_accepts_an_odd_batch():
    model = TimmClassifier('test_resnet', num_classes=3, mixup=dict(mixup_alpha=1.0))
    data = {name: tensor[:3] for name, tensor in batch().items()}
    mixed = model.data_preprocessor(data, True)
    assert mixed['inputs'].shape == data['inputs'].shape and mixed['targets'].shape == (3, 3)
    torch.testing.assert_close(mixed['targets'].sum(dim=1), torch.ones(3))
    # Image 1 is mixed with image 2 in a random proportion.
    plain = model.data_preprocessor(data, False)['inputs']
    share = (mixed['inputs'][1] - plain[2]) / (plain[1] - plain[2])
    share = share[share.isfinite()]
    torch.testing.assert_close(share, share[:1].expand_as(share), rtol=1e-2, atol=1e-2)


def test_default_normalisation_is_that_of_the_backbone():
    model = TimmClassifier('cifar_resnet8', num_classes=10)
    assert model.data_preprocessor.mean.flatten().tolist() == pytest.approx([0.4914, 0.4822, 0.4465])
    assert model.data_preprocessor.std.flatten().tolist() == pytest.approx([0.2470, 0.2435, 0.2616])


@pytest.mark.parametrize('name', ['test_resnet', 'cifar_resnet8'])
def test_default_normalisation_follows_the_channels(name):
    three = TimmClassifier(name, num_classes=3).data_preprocessor
    one = TimmClassifier(name, num_classes=3, in_chans=1)
    for values in ('mean', 'std'):
        own = getattr(one.data_preprocessor, values).flatten().tolist()
        assert own == pytest.approx([getattr(three, values).mean().item()])
    assert len(one.val_step(batch(channels=1))) == 4
    four = TimmClassifier(name, num_classes=3, in_chans=4)
    expected = [*three.mean.flatten().tolist(), three.mean.flatten()[0].item()]
    assert four.data_preprocessor.mean.flatten().tolist() == pytest.approx(expected)
    assert four.input_size[0] == 4 and len(four.deployed_config({})['std']) == 4


def test_normalisation_of_another_number_of_channels_is_an_error():
    with pytest.raises(
        ConfigError, match=r'^mean has 3 values, \[0.5, 0.4, 0.3\], and the model takes 1 channels; give one'
    ):
        TimmClassifier('test_resnet', 3, in_chans=1, mean=[0.5, 0.4, 0.3])
    assert TimmClassifier('test_resnet', 3, in_chans=1, mean=[0.5], std=[0.2]).data_preprocessor.mean.numel() == 1


def test_example_batch_has_the_targets_of_the_loss():
    several = TimmClassifier('cifar_resnet8', 3, loss=dict(type='MultiLabelLoss'))
    assert several.outputs == 'sigmoid' and several.example_batch(2)['targets'].shape == (2, 3)
    assert loss_of(several, several.example_batch(2)).isfinite()
    assert TimmClassifier('cifar_resnet8', 3).outputs == 'softmax'


def test_float_images_range_from_0_to_1():
    model = TimmClassifier('cifar_resnet8', num_classes=10)
    data = batch()
    floats = {**data, 'inputs': data['inputs'] / 255}
    torch.testing.assert_close(model.data_preprocessor(floats)['inputs'], model.data_preprocessor(data)['inputs'])


@pytest.mark.parametrize('name', ['resnet18', 'efficientnet_b0', 'mobilenetv3_small_050'])
def test_cifar_stem_keeps_the_resolution(name):
    model = TimmClassifier(name, num_classes=10, stem='cifar').backbone
    stem = getattr(model, 'conv_stem', None) or model.conv1
    assert stem(torch.zeros(1, 3, 32, 32)).shape[-2:] == (32, 32)
    if hasattr(model, 'maxpool'):
        assert model.maxpool(torch.zeros(1, 1, 32, 32)).shape[-2:] == (32, 32)


def test_cifar_stem_does_not_change_a_cifar_network():
    torch.manual_seed(0)
    plain = TimmClassifier('cifar_resnet8', num_classes=10)
    torch.manual_seed(0)
    adapted = TimmClassifier('cifar_resnet8', num_classes=10, stem='cifar')
    assert torch.equal(plain.backbone.conv1.weight, adapted.backbone.conv1.weight)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(model_name='cifar_resne20'), r"'cifar_resne20' is not a timm model; did you mean 'cifar_resnet20'"),
        (
            dict(model_name='test_vit', stem='cifar'),
            r"stem='cifar' supports ResNet and conv_stem networks, not 'test_vit'",
        ),
        (dict(model_name='resnet18', stem='tiny'), r"^stem must be 'cifar' or None, got 'tiny'$"),
        (
            dict(model_name='test_resnet', dpeth=3),
            r"model_name is 'test_resnet', which timm cannot build with the arguments \{'dpeth': 3\}: .*'dpeth'",
        ),
    ],
)
def test_invalid_arguments_are_an_error_with_a_way_out(arguments, message):
    with pytest.raises(ConfigError, match=message):
        TimmClassifier(num_classes=10, **arguments)
