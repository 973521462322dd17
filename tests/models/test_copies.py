import pytest
import torch

from motivation.models.preprocessor import ImagePreprocessor


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_copies_from_pinned_memory_give_every_batch_its_own_images():
    preprocessor = ImagePreprocessor(mean=[0.0], std=[1.0]).to('cuda')
    busy = torch.randn(4096, 4096, device='cuda')
    sums, expected = [], []
    for number in range(50):
        images = torch.full((64, 3, 96, 96), number, dtype=torch.uint8).pin_memory()
        batch = preprocessor({'inputs': images, 'targets': torch.full((64,), number).pin_memory()})
        busy = busy @ busy / 64  # the device works on while the next images are copied
        sums.append(batch['inputs'].double().mean() * 255 + batch['targets'].double().mean())
        expected.append(2.0 * number)
        del batch
    assert torch.stack(sums).tolist() == pytest.approx(expected, abs=1e-3)
