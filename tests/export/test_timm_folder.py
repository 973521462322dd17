import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from mmengine.model import BaseModel
from PIL import Image
from timm.data import create_transform, resolve_data_config

from motivation.errors import ConfigError
from motivation.export.deployable import Deployable
from motivation.export.exported_model import load_exported
from motivation.registry import EXPORTERS
from tests.export.models import images_of, runtime, saved_model

TIMM = EXPORTERS.get('timm')
LOAD = runtime(TIMM)

# Networks that timm has, and those that it does not.
PLAIN = {
    'test_resnet': dict(),
    'test_efficientnet': dict(in_chans=1),
    'test_vit': dict(img_size=32, patch_size=8, depth=2),
}
NARROW = dict(layers=[1, 1, 1, 1], channels=[8, 8, 16, 16])
OTHERS = {
    'cifar_resnet8': dict(width=2),
    'resnet18': dict(stem='cifar', **NARROW),
    'test_efficientnet_gn': dict(stem='cifar'),
}


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """Return the deployable and the folder of each network."""
    root = tmp_path_factory.mktemp('exported')
    found = {}
    for name, arguments in {**PLAIN, **OTHERS}.items():
        (root / name).mkdir()
        deployable = saved_model(root / f'{name}.pth', name, **arguments)
        TIMM().export(deployable, images_of(2), root / name / TIMM.file)
        found[name] = deployable, root / name
    return found


def logits_of(deployable, images):
    with torch.no_grad():
        return deployable.model(deployable.inputs(images))


def images_for(deployable, count=3):
    return images_of(count, deployable.model.input_size[0])


STRANGER = """
import json, sys
from pathlib import Path
import timm, torch
from PIL import Image
from timm.data import create_transform, resolve_data_config

answers = {}
for folder in sys.argv[1:]:
    model = timm.create_model(f'local-dir:{folder}', pretrained=True).eval()
    transform = create_transform(**resolve_data_config({}, model=model))
    mode = 'L' if model.pretrained_cfg['input_size'][0] == 1 else 'RGB'
    image = transform(Image.open(Path(folder) / 'image.png').convert(mode))
    with torch.no_grad():
        logits = model(image[None])[0]
    answers[folder] = model.pretrained_cfg['label_names'][int(logits.argmax())], logits.tolist()
assert not any(name.partition('.')[0] in ('motivation', 'mmengine') for name in sys.modules)
print(json.dumps(answers))
"""


def test_stranger_with_timm_alone_gets_the_class_and_the_logits(exported, tmp_path):
    for name in PLAIN:
        deployable, folder = exported[name]
        pixels = images_for(deployable, 1)[0].movedim(0, -1).squeeze(-1)
        Image.fromarray(pixels.numpy()).save(folder / 'image.png')
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    done = subprocess.run(
        [sys.executable, '-c', STRANGER, *(str(exported[name][1]) for name in PLAIN)],
        capture_output=True, text=True, check=True, cwd=tmp_path, env=environment,
    )  # fmt: skip
    answers = json.loads(done.stdout)
    for name in PLAIN:
        deployable, folder = exported[name]
        (expected,) = logits_of(deployable, images_for(deployable, 1))
        label, logits = answers[str(folder)]
        assert expected.std() > 0.1
        # timm normalises by other operations than this framework: the pixels differ in their last bit.
        assert logits == pytest.approx(expected.tolist(), abs=1e-4 * float(expected.abs().max()))
        assert label == deployable.classes[int(expected.argmax())]


@pytest.mark.parametrize('name', [*PLAIN, *OTHERS])
def test_every_folder_gives_the_logits_bit_by_bit(exported, name):
    deployable, folder = exported[name]
    images = images_for(deployable)
    expected = logits_of(deployable, images)
    own = load_exported(folder)
    assert torch.equal(own(own.data_preprocessor({'inputs': images})['inputs']), expected)
    assert own.metainfo == deployable.metainfo
    loaded = LOAD(folder / TIMM.file)
    assert not loaded.takes_uint8
    assert torch.equal(torch.from_numpy(loaded(deployable.inputs(images).numpy())), expected)


def test_cifar_resnets_load_with_timm_once_they_are_registered(exported):
    deployable, folder = exported['cifar_resnet8']
    model = timm.create_model(f'local-dir:{folder}', pretrained=True).eval()
    images = images_for(deployable)
    with torch.no_grad():
        assert torch.equal(model(deployable.inputs(images)), logits_of(deployable, images))
    assert timm.create_model(f'local-dir:{folder}', pretrained=True, num_classes=7).fc.out_features == 7
    assert (
        json.loads((folder / 'config.json').read_text())['motivation']['registered_by']
        == 'motivation.models.cifar_resnet'
    )


@pytest.mark.parametrize('name', ['resnet18', 'test_efficientnet_gn'])
def test_timm_refuses_a_network_with_another_stem_by_name(exported, name):
    """The weights of an EfficientNet with another stride would fit, and give other logits in silence."""
    with pytest.raises(RuntimeError, match=rf"^Unknown model \({name}, with stem='cifar' of motivation\)"):
        timm.create_model(f'local-dir:{exported[name][1]}', pretrained=True)


def test_preprocessing_is_that_of_the_run(tmp_path):
    transforms = [dict(type='Resize', size=40, interpolation='bicubic'), dict(type='CenterCrop', size=32)]
    deployable = saved_model(
        tmp_path / 'base.pth',
        'test_resnet',
        mean=[0.1, 0.2, 0.3],
        std=[0.4, 0.5, 0.6],
        metainfo=dict(transforms=transforms),
    )
    TIMM().export(deployable, images_of(2), tmp_path / TIMM.file)
    model = timm.create_model(f'local-dir:{tmp_path}', pretrained=True)
    assert resolve_data_config({}, model=model) == dict(
        input_size=[3, 32, 32],
        interpolation='bicubic',
        crop_pct=0.8,
        crop_mode='center',
        mean=[0.1, 0.2, 0.3],
        std=[0.4, 0.5, 0.6],
    )
    resize, crop, *_ = create_transform(**resolve_data_config({}, model=model)).transforms
    assert resize.size == 40 and list(crop.size) == [32, 32]


def test_other_numbers_of_channels_keep_their_first_layer(tmp_path):
    deployable = saved_model(tmp_path / 'base.pth', 'test_resnet', in_chans=2, mean=[0.4, 0.5], std=[0.3, 0.2])
    TIMM().export(deployable, images_of(2, 2), tmp_path / TIMM.file)
    model = timm.create_model(f'local-dir:{tmp_path}', pretrained=True)
    assert torch.equal(model.conv1[0].weight, deployable.model.backbone.conv1[0].weight)
    assert model.pretrained_cfg['first_conv'] is None


class OwnModel(BaseModel):
    def forward(self, inputs):
        return inputs.mean((2, 3))


def test_model_that_is_not_of_timm_is_refused(tmp_path):
    with pytest.raises(
        ConfigError, match=r"^format 'timm' is for timm's models, and this is a OwnModel; leave .* out$"
    ):
        TIMM().export(Deployable(OwnModel()), images_of(1), tmp_path / TIMM.file)
    assert list(tmp_path.iterdir()) == []


def truncate(folder):
    weights = folder / 'model.safetensors'
    weights.write_bytes(weights.read_bytes()[:-100])


def lie_about_the_header(folder):
    (folder / 'model.safetensors').write_bytes(b'\xff' * 8 + b'{"__metadata__": {}}')


def put_a_pickle_in_its_place(folder):
    torch.save({'conv1.weight': torch.zeros(1)}, folder / 'model.safetensors')


def lose_a_tensor(folder):
    weights = safetensors.torch.load_file(folder / 'model.safetensors')
    weights.pop('fc.bias')
    safetensors.torch.save_file(weights, folder / 'model.safetensors')


def round_a_tensor(folder):
    weights = safetensors.torch.load_file(folder / 'model.safetensors')
    weights['fc.bias'] = weights['fc.bias'].to(torch.int8)
    safetensors.torch.save_file(weights, folder / 'model.safetensors')


def cut_the_settings(folder):
    settings = folder / 'config.json'
    settings.write_text(settings.read_text()[:-40])


def nest_the_settings(folder):
    (folder / 'config.json').write_text('[' * 100_000)


def give_a_list(folder):
    (folder / 'config.json').write_text('[]')


def change(folder, **config):
    settings = json.loads((folder / 'config.json').read_text())
    settings['motivation']['config'].update(config)
    (folder / 'config.json').write_text(json.dumps(settings))


def name_a_function(folder):
    change(folder, type='pathlib.Path.touch', self='harmed')


def name_a_function_inside(folder):
    change(folder, type='DualModel', base=dict(type='subprocess.check_call', popenargs=['touch', 'harmed']))


def name_no_network(folder):
    change(folder, model_name='nonsense')


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (truncate, r"safetensors' is damaged or not a safetensors file \("),
        (lie_about_the_header, r"safetensors' is damaged or not a safetensors file \("),
        (put_a_pickle_in_its_place, r"safetensors' is damaged or not a safetensors file \("),
        (lose_a_tensor, r"is of other models: it lacks 'fc\.bias'"),
        (round_a_tensor, r"is damaged: 'fc\.bias' is torch\.int8 instead of torch\.float32; export the model again$"),
        (cut_the_settings, r"config\.json' is damaged: it is not JSON; export"),
        (nest_the_settings, r"config\.json' is damaged: it is not JSON; export"),
        (give_a_list, r"config\.json' is damaged: it is not an object"),
        (name_a_function, r"cannot be built: type 'pathlib\.Path\.touch' is neither a registered model nor a layer"),
        (name_a_function_inside, r"cannot be built: type 'subprocess\.check_call' is neither a registered model"),
        (name_no_network, r'copy. cannot be built: .*nonsense. is not a timm model'),
    ],
)
def test_damaged_or_crafted_folder_is_refused_in_one_sentence(exported, damage, message):
    shutil.copytree(exported['test_resnet'][1], 'copy')
    damage(Path('copy'))
    with pytest.raises(ConfigError, match=message) as refused:
        load_exported('copy')
    assert '\n' not in str(refused.value)
    assert not Path('harmed').exists()
    if damage not in (name_a_function, name_a_function_inside, name_no_network):  # timm does not read these
        problem = 'is of another model than' if damage in (lose_a_tensor, round_a_tensor) else r'is damaged \('
        file = 'config.json' if damage in (cut_the_settings, nest_the_settings, give_a_list) else 'model.safetensors'
        with pytest.raises(ValueError, match=rf"^'copy/{file}' {problem}"):
            LOAD('copy')


def test_weights_of_another_model_are_named_and_not_called_damaged(exported):
    folder = exported['test_resnet'][1]
    shutil.copytree(folder, 'copy')
    weights = safetensors.torch.load_file(folder / 'model.safetensors')
    safetensors.torch.save_file(weights | {'conv1.0.weight': torch.zeros(1, 2, 3, 3)}, 'copy/model.safetensors')
    with pytest.raises(
        ValueError, match=r"^'copy/model\.safetensors' is of another model than 'copy/config\.json' desc"
    ):
        LOAD('copy')
    with pytest.raises(
        ConfigError, match=r"'copy/model\.safetensors' is of other models: .*; config\.json beside it desc"
    ):
        load_exported('copy')


def test_folder_of_a_run_is_no_model(tmp_path):
    with pytest.raises(
        ConfigError, match=r'has no config\.json; give the folder of an exported model, or the base\.pth'
    ):
        load_exported(tmp_path)
