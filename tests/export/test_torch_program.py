import errno
import zipfile
from pathlib import Path

import pytest
import torch

from motivation.errors import ConfigError
from motivation.export.deployable import Deployable
from motivation.registry import EXPORTERS
from tests.conftest import ROOT
from tests.export.models import images_of, runtime, saved_model

TORCH = EXPORTERS.get('torch')
LOAD = runtime(TORCH)


@pytest.fixture(scope='module')
def deployable(tmp_path_factory):
    return saved_model(tmp_path_factory.mktemp('run') / 'base.pth', 'cifar_resnet8', size=12, in_chans=1)


@pytest.fixture(scope='module', params=[False, True], ids=['normalised', 'uint8'])
def program(request, deployable, tmp_path_factory):
    path = tmp_path_factory.mktemp('exported') / TORCH.file
    deployable = Deployable(deployable.model, request.param)
    TORCH().export(deployable, images_of(4, 1, 12), path)
    return deployable, path


def test_program_gives_the_logits_of_the_model_for_batches_of_any_size(program):
    deployable, path = program
    loaded = LOAD(path)
    assert loaded.takes_uint8 is deployable.raw_input and loaded.largest_batch is None
    images = images_of(5, 1, 12)
    model = deployable.model
    with torch.no_grad():
        expected = model.backbone((images / 255 - model.data_preprocessor.mean) / model.data_preprocessor.std)
    assert expected.std() > 0.1
    for count in (1, 2, 5):
        logits = torch.from_numpy(loaded(deployable.inputs(images[:count]).numpy()))
        assert torch.allclose(logits, expected[:count], atol=1e-5 * float(expected.abs().max()))


def test_file_holds_neither_training_images_nor_paths_of_this_machine(program):
    _, path = program
    with zipfile.ZipFile(path) as archive:
        (example,) = (name for name in archive.namelist() if 'sample_inputs' in name)
        (images,), _ = torch.load(archive.open(example), weights_only=True)
        assert not images.any()
        assert str(ROOT).encode() not in b''.join(map(archive.read, archive.namelist()))


def test_truncated_file_is_refused_in_one_sentence(program, tmp_path, caplog):
    _, path = program
    (tmp_path / 'cut.pt2').write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(
        ValueError, match=r"^'.*cut\.pt2' is damaged or not a program of torch\.export; export .* again$"
    ):
        LOAD(tmp_path / 'cut.pt2')
    assert caplog.records == []  # torch logs a traceback


def test_model_that_torch_cannot_trace_is_refused_and_leaves_no_file(deployable, tmp_path, monkeypatch):
    def forward(images):
        return images.sum((2, 3)) if images.sum() > 0 else images.mean((2, 3))

    monkeypatch.setattr(deployable.model.backbone, 'forward', forward)
    with pytest.raises(
        ConfigError, match=r"^format 'torch' cannot be written: torch\.export does not take this model \("
    ):
        TORCH().export(deployable, images_of(2, 1, 12), tmp_path / TORCH.file)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='a device that is always full')
def test_full_disk_is_an_error_and_not_the_end_of_the_process(deployable, tmp_path):
    (tmp_path / f'.{TORCH.file}.part').symlink_to('/dev/full')
    with pytest.raises(OSError) as full:
        TORCH().export(deployable, images_of(2, 1, 12), tmp_path / TORCH.file)
    assert full.value.errno == errno.ENOSPC and list(tmp_path.iterdir()) == []
