import json
import math
from pathlib import Path

import pytest
import torch
from PIL import Image

from motivation.datasets.unlabelled import UnlabelledImages
from motivation.errors import ConfigError
from motivation.export.description import read_description, write_description
from tests.conftest import ROOT
from tests.export.models import images_of, saved_model


@pytest.fixture
def described(tmp_path):
    deployable = saved_model(tmp_path / 'base.pth', 'test_resnet', classes=['ant', 'bée'], mean=[0.1, 0.2, 0.3])
    write_description(deployable, 'base', 'ab12', tmp_path / 'description.json')
    return deployable, tmp_path / 'description.json'


def test_description_holds_all_that_a_program_needs_to_prepare_images(described):
    deployable, path = described
    assert 'bée' in path.read_text()
    assert read_description(path) == {
        'model': 'base',
        'made_from': 'ab12',
        'classes': ['ant', 'bée'],
        'input_size': [3, 32, 32],
        'mean': pytest.approx([0.1, 0.2, 0.3]),
        'std': deployable.metainfo['std'],
        'image_mode': 'RGB',
        'decoder': None,
        'outputs': 'softmax',
        'transforms': [{'type': 'Resize', 'size': [32, 32]}],
    }


@pytest.mark.parametrize('mode', ['RGB', 'L'])
def test_program_of_the_docs_prepares_an_image_as_the_run_does(tmp_path, mode):
    deployable = saved_model(tmp_path / 'base.pth', 'cifar_resnet8', size=12, in_chans=len(mode) // 2 * 2 + 1)
    write_description(deployable, 'base', 'aa', Path('description.json'))
    pixels = images_of(1, size=30)[0, :, :20]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save('rose.jpg', exif=exif)
    section = (ROOT / 'docs/deploying.md').read_text().partition('## description.json')[2]
    code = section.partition('```python\n')[2].partition('```')[0]
    found = {}
    exec(code, found)
    about = read_description(Path('description.json'))
    images = UnlabelledImages(['rose.jpg'], about['transforms'], mode, 'opencv', about['input_size'])
    expected = deployable.inputs(images[0]['inputs'][None])
    assert found['images'].dtype == 'float32' and found['images'].shape == tuple(expected.shape)
    level = 1.01 / 255 / min(about['std'])
    assert (torch.from_numpy(found['images']) - expected).abs().max() <= level < expected.std() / 10


def test_value_that_is_not_known_is_none(described):
    _, path = described
    path.write_text('{"model": "base", "classes": null}')
    assert set(read_description(path).values()) == {'base', None}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(classes=[1, 2]), 'classes is not a list of names'),
        (dict(classes='ant'), 'classes is not a list of names'),
        (dict(input_size=[3, 32]), r'input_size is not \[channels, height, width\]'),
        (dict(input_size=[3, 32, -32]), r'input_size is not \[channels'),
        (dict(std=[0.0]), 'std is not a list of numbers above 0'),
        (dict(std=[math.nan]), 'std is not a list of numbers above 0'),
        (dict(transforms={'type': 'Resize'}), 'transforms is not a list of transforms'),
        (
            dict(transforms=[dict(type='RandomApply', transforms=[dict(type='subprocess.Popen', args=['ls'])])]),
            "type 'subprocess.Popen' is neither a registered transform nor a layer; register",
        ),
    ],
)
def test_wrong_value_is_named(described, change, message):
    _, path = described
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ConfigError, match=rf"^'.*description\.json' is .*{message}"):
        read_description(path)


@pytest.mark.parametrize('content', ['', '{"model": "ba', '[]', '\x00' * 9])
def test_damaged_file_is_refused(described, content):
    _, path = described
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"description\.json' is damaged: it is not (JSON|an object of JSON); export"):
        read_description(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"description\.json' does not exist, which describes the images"):
        read_description(tmp_path / 'description.json')
