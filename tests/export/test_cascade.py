import numpy as np
import pytest
import torch
from torch import nn

from motivation.errors import ArgumentError, ConfigError
from motivation.evaluation.confidence import confidence
from motivation.export.cascade import Cascade


class Counting(nn.Module):
    """A linear classifier that counts the images it has run on."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.linear = nn.Linear(12, 4)
        self.images = 0

    def forward(self, images):
        self.images += len(images)
        return 3 * self.linear(images.flatten(1))


@pytest.fixture
def images():
    return torch.randn(32, 3, 2, 2, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize('measure', ['probability', 'margin', 'entropy'])
def test_batch_equals_single_images(images, measure):
    base, motivated = Counting(0), Counting(1)
    with torch.no_grad():
        threshold = confidence(base(images), measure).median().item()
    cascade = Cascade(base, motivated, threshold, measure)
    logits, by_motivated = cascade(images)
    for image, row, by in zip(images.split(1), logits, by_motivated, strict=True):
        alone = base(image)
        passed_on = confidence(alone, measure).item() < threshold
        assert by.item() == passed_on
        torch.testing.assert_close(row, (motivated(image) if passed_on else alone)[0], check_dtype=True)
    assert by_motivated.sum() == 15  # the median and all above stay


def test_motivated_model_runs_only_on_what_is_passed_on(images):
    base, motivated = Counting(0), Counting(1)
    cascade = Cascade(base, motivated, 0.6)
    passed_on = cascade(images).by_motivated.sum().item()
    assert (base.images, motivated.images) == (32, passed_on) and 0 < passed_on < 32
    motivated.images = 0
    cascade.threshold = 0.0
    assert not cascade(images).by_motivated.any() and motivated.images == 0
    cascade.threshold = 2.0
    logits, by_motivated = cascade(images)
    assert by_motivated.all() and torch.equal(logits, motivated(images))


def test_logits_that_are_nan_are_passed_on(images):
    base, motivated = Counting(0), Counting(1)
    nn.init.constant_(base.linear.bias, float('nan'))
    assert Cascade(base, motivated, 0.5)(images).by_motivated.all()


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match=r'threshold must be at least 0, got -0\.1'):
        Cascade(Counting(0), Counting(1), -0.1)
    with pytest.raises(ConfigError, match=r"cascade\.json' does not exist; write it with 'motivation cascade"):
        Cascade.load(tmp_path)
    with pytest.raises(ArgumentError, match=r"^at must be 'equal_.* or 'best_accuracy', got 'best'$"):
        Cascade.load(tmp_path, at='best')


@pytest.mark.parametrize('content', ['[' * 100_000, '{"measure": "margin"}', '[]', '\x00'])
def test_damaged_thresholds_are_one_sentence(tmp_path, content):
    (tmp_path / 'two').mkdir()
    (tmp_path / 'two/cascade.json').write_text(content)
    with pytest.raises(ConfigError, match=r"^'.*two/cascade\.json' is damaged; write .*--out .*two --overwrite'$"):
        Cascade.load(tmp_path, thresholds=tmp_path / 'two/cascade.json')


@pytest.mark.parametrize(
    ('wrong', 'problem'),
    [
        (np.zeros((2, 3, 2, 2), np.uint8), r'must be a tensor, got ndarray; convert with torch\.from_numpy'),
        (torch.zeros(3, 2, 2), r'must be \(N, 3, H, W\), got \(3, 2, 2\)'),
        (torch.zeros(2, 1, 2, 2), r'must be \(N, 3, H, W\), got \(2, 1, 2, 2\)'),
        (torch.zeros(2, 3, 2, 2, dtype=torch.int64), r'must be uint8, .* or float, 0 to 1, not normalised; got int64'),
        (torch.full((2, 3, 2, 2), 255.0), 'got values from 255 to 255'),
        (torch.full((2, 3, 2, 2), -1.5), r'got values from -1\.5 to -1\.5'),
        (torch.full((2, 3, 2, 2), float('nan')), 'got values from nan to nan'),
    ],
)
def test_images_of_another_form_or_scale_are_refused(wrong, problem):
    cascade = Cascade(Counting(0), Counting(1), 0.5, channels=3)
    with pytest.raises(ArgumentError, match=f'^images .*{problem}$'):
        cascade(wrong)
    assert len(cascade(torch.rand(2, 3, 2, 2)).logits) == 2 and len(cascade(torch.zeros(0, 3, 2, 2)).logits) == 0
