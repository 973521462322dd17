import pytest
import torch
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from torch import nn
from torch.nn import functional as F

from motivation.hooks.watched_logits import unreduced

LOGITS = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
CLASSES = torch.tensor([0, 4, 2, 2, 1, 3])


@pytest.mark.parametrize(
    ('loss', 'logits', 'targets'),
    [
        (nn.CrossEntropyLoss(), LOGITS, CLASSES),
        (nn.CrossEntropyLoss(label_smoothing=0.1), LOGITS, CLASSES),
        (LabelSmoothingCrossEntropy(0.1), LOGITS, CLASSES),
        (SoftTargetCrossEntropy(), LOGITS, F.one_hot(CLASSES, 5) * 0.8 + 0.04),
        (nn.CrossEntropyLoss(), torch.stack([LOGITS, LOGITS * 2], dim=2), torch.stack([CLASSES, CLASSES], dim=1)),
    ],
    ids=['plain', 'smoothed', 'timm-smoothed', 'soft', 'sequence'],
)
def test_loss_of_a_sample_is_that_of_a_batch_of_it_alone(loss, logits, targets):
    each = unreduced(loss, logits, targets)
    alone = [loss(logits[i : i + 1], targets[i : i + 1]) for i in range(6)]
    torch.testing.assert_close(each, torch.stack(alone))
    torch.testing.assert_close(each.mean(), loss(logits, targets))
    assert getattr(loss, 'reduction', 'mean') == 'mean'
