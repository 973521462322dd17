import numpy as np
import pytest
import torch

from motivation.compute.step_macs import count_train_step
from motivation.errors import ConfigError
from motivation.models import TimmClassifier
from motivation.models.preprocessor import ImagePreprocessor

IMAGES = torch.arange(0, 192, dtype=torch.uint8).reshape(1, 3, 8, 8)


def preprocessor(**kwargs):
    return ImagePreprocessor(mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.4], num_classes=3, **kwargs)


def test_unlabelled_images_are_preprocessed():
    labelled = preprocessor()({'inputs': IMAGES, 'targets': torch.tensor([1])})
    prepared = preprocessor(mixup=dict(mixup_alpha=1.0))({'inputs': IMAGES})
    assert prepared.keys() == {'inputs'}
    assert torch.equal(prepared['inputs'], labelled['inputs'])
    assert prepared['inputs'][0, 0, 0, 1].item() == pytest.approx((1 / 255 - 0.5) / 0.2)
    assert preprocessor()({'inputs': IMAGES}, training=True).keys() == {'inputs'}


def test_mixup_without_targets_is_an_error():
    with pytest.raises(ConfigError, match=r"^the batch has no 'targets', which mixup needs; .* training=False$"):
        preprocessor(mixup=dict(mixup_alpha=1.0))({'inputs': IMAGES}, training=True)


@pytest.mark.parametrize('data', [IMAGES, {'images': IMAGES}])
def test_batch_without_inputs_is_an_error(data):
    with pytest.raises(
        ConfigError, match=r"^data_preprocessor got a \w+ without 'inputs'; give it dict\(inputs=images\)"
    ):
        preprocessor()(data)


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int64])
@pytest.mark.parametrize('mode', ['tensor', 'predict', 'loss'])
def test_integer_images_are_an_error_in_the_network(dtype, mode):
    model = TimmClassifier('cifar_resnet8', num_classes=3)
    with pytest.raises(
        ConfigError, match=r"are torch\.u?int\d+, .*; give it model\.data_preprocessor\(\{'inputs': images\}"
    ):
        model(IMAGES.to(dtype), torch.tensor([1]), mode=mode)


def test_unlabelled_images_have_the_same_predictions_as_labelled_ones():
    model = TimmClassifier('cifar_resnet8', num_classes=3).eval()
    (new,), (labelled,) = (
        model.test_step({'inputs': IMAGES}),
        model.test_step({'inputs': IMAGES, 'targets': torch.ones(1)}),
    )
    assert new.keys() == {'logits'} and torch.equal(new['logits'], labelled['logits'])
    with pytest.raises(ConfigError, match="mode is 'loss', which needs targets"):
        model(**model.data_preprocessor({'inputs': IMAGES}), mode='loss')


@pytest.mark.parametrize('mode', ['batch', 'pair', 'elem'])
def test_labels_are_mixed_as_the_images_and_cost_no_compute(mode):
    """Images whose pixels are their labels are mixed into images whose pixels are the mixed labels."""
    model = TimmClassifier(
        'test_resnet', num_classes=3, loss=dict(type='MultiLabelLoss'), mixup=dict(mixup_alpha=1.0, mode=mode)
    )
    plain = TimmClassifier('test_resnet', num_classes=3, loss=dict(type='MultiLabelLoss'))
    labels = torch.tensor([[1, 0, 1], [0, 1, 1], [0, 0, 0], [1, 1, 0], [0, 0, 1.0]])
    prepare = ImagePreprocessor(mean=[0.0], std=[1.0], mixup=dict(mixup_alpha=1.0, mode=mode), num_classes=3)
    np.random.seed(3)
    mixed = prepare({'inputs': labels[:, :, None, None].expand(-1, -1, 8, 8).clone(), 'targets': labels}, training=True)
    assert mixed['targets'].shape == labels.shape and not torch.equal(mixed['targets'], labels)
    torch.testing.assert_close(mixed['inputs'][:, :, 0, 0], mixed['targets'])
    batch = {'inputs': IMAGES.expand(4, -1, -1, -1), 'targets': labels[:4]}
    assert count_train_step(model, batch).modules[''] == count_train_step(plain, batch).modules['']
