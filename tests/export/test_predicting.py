import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from PIL import Image

from motivation.datasets import TimmDataset
from motivation.datasets.found_images import find_images
from motivation.datasets.unlabelled import UnlabelledImages
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.export.deployable import Deployable
from motivation.export.opened_model import OpenedModel
from motivation.export.predicting import Predictor
from motivation.models.exported_file import load_exported
from motivation.registry import EXPORTERS
from tests.datasets.test_bad_data import KINDS, damage
from tests.export.models import images_of, saved_model
from tests.export.test_exported_model import folder_config, write_images


class Logits(Hook):
    """Records the logits of validation."""

    def __init__(self):
        self.seen = {'base': [], 'motivated': []}

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        for name, samples in outputs.items():
            self.seen[name] += [sample['logits'] for sample in samples]


@pytest.mark.parametrize('decoder', ['opencv', 'pillow', 'scaled'])
def test_predictions_of_a_run_are_those_of_its_validation_bit_for_bit(decoder):
    """With images of several sizes, which are read from their files, as JPEG, turned, and resized by the transforms."""
    write_images('images')
    exif = Image.Exif()
    exif[0x0112] = 6
    for index, (width, height) in enumerate([(40, 31), (23, 70), (64, 64)]):
        pixels = images_of(1, size=80)[0, :, :height, :width].permute(1, 2, 0).contiguous().numpy()
        extra = dict(exif=exif) if index == 1 else {}
        Image.fromarray(pixels).save(f'images/val/cat/{index}.jpg', **extra)
    config = folder_config('run')
    resize = dict(type='Resize', size=(10, 10))
    for stage in ('val', 'test'):
        config[f'{stage}_dataloader'].dataset.update(
            transforms=[resize, dict(type='CenterCrop', size=(8, 8)), dict(type='ToTensor')], decoder=decoder
        )
    config.val_dataloader.pop('num_batch_per_epoch')
    runner, logits = DualModelRunner.from_cfg(config), Logits()
    runner.register_hook(logits)
    runner.train()
    predictor = Predictor.load('run')
    assert [*predictor.models] == ['base', 'motivated'] and predictor.description['decoder'] == decoder
    predictions = list(predictor(find_images(['images/val']), batch_size=4))
    assert len(predictions) == 15
    for name, seen in logits.seen.items():
        for prediction, expected in zip(predictions, seen, strict=True):
            assert torch.equal(prediction.probabilities[name], torch.softmax(expected, 0))
    assert [guess.name for guess in predictions[0].top(5)] in (['cat', 'dog'], ['dog', 'cat'])


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A folder with base.pth, of three classes of 12 px images."""
    folder = tmp_path_factory.mktemp('run')
    saved_model(folder / 'base.pth', 'cifar_resnet8', size=12)
    return folder


@pytest.fixture(scope='module')
def exported(run):
    """The folder ``exported/base`` of it, with a program of torch.export, and an ONNX graph that is another model."""
    folder = run / 'exported' / 'base'
    folder.mkdir(parents=True)
    EXPORTERS.get('torch')().export(Deployable.load(run / 'base.pth'), images_of(4, size=12), folder / 'model.pt2')
    write_mean_graph(folder / 'model.onnx')
    (folder / 'description.json').write_text(description(run))
    return folder


def write_mean_graph(path, takes='UINT8', size=12):
    """Write an ONNX graph whose three logits are the means of the channels, of images one at a time."""
    onnx = pytest.importorskip('onnx')
    takes = getattr(onnx.TensorProto, takes)
    nodes = [
        onnx.helper.make_node('Cast', ['images'], ['floats'], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node('ReduceMean', ['floats', 'sides'], ['logits'], keepdims=0),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        'means',
        [onnx.helper.make_tensor_value_info('images', takes, [1, 3, size, size])],
        [onnx.helper.make_tensor_value_info('logits', onnx.TensorProto.FLOAT, [1, 3])],
        [onnx.numpy_helper.from_array(np.array([2, 3]), 'sides')],
    )
    opset = onnx.helper.make_opsetid('', 18)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10), path)


def description(run, **changes):
    return json.dumps({**load_exported(run / 'base.pth').metainfo, **changes})


def pictures(count=5):
    return [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images_of(count, size=20)]


def test_program_of_torch_export_answers_as_the_run_does(run, exported):
    expected = list(Predictor.load(run / 'base.pth')(pictures()))
    assert torch.stack([prediction.probabilities['base'] for prediction in expected]).std(0).min() > 0.01
    for prediction, other in zip(expected, Predictor.load(exported)(pictures(), batch_size=2), strict=True):
        assert torch.allclose(prediction.probabilities['base'], other.probabilities['base'], atol=1e-5)
        assert prediction.top(1)[0].name == ['ant', 'bee', 'cat'][other.top(1)[0].index]


@pytest.mark.parametrize('takes', ['UINT8', 'FLOAT'])
def test_graph_is_given_images_of_its_type_as_many_as_it_takes(run, tmp_path, takes):
    write_mean_graph(tmp_path / 'model.onnx', takes)
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
    (tmp_path / 'description.json').write_text(description(run, mean=mean, std=std, transforms=[]))
    images = images_of(3, size=12)
    predictions = Predictor.load(tmp_path / 'model.onnx')([Image.fromarray(i.permute(1, 2, 0).numpy()) for i in images])
    for prediction, image in zip(predictions, images.double(), strict=True):
        normalised = (image.mean((1, 2)) / 255 - torch.tensor(mean)) / torch.tensor(std)
        expected = torch.softmax(image.mean((1, 2)) if takes == 'UINT8' else normalised, 0)
        assert torch.allclose(prediction.probabilities[tmp_path.name], expected.float(), atol=1e-5)


def test_folder_of_several_formats_or_models_is_opened_by_its_order_and_names(run, exported, tmp_path):
    assert Predictor.load(exported).path.name == 'model.pt2'
    assert [*Predictor.load(run).models] == [*Predictor.load(run / 'exported').models] == ['base']
    for model in (run, run / 'exported'):
        with pytest.raises(ConfigError, match=r"^--models names 'bas', which '.*' lacks; did you mean 'base'\?$"):
            Predictor.load(model, models=['bas'])
    with pytest.raises(ConfigError, match=r"^--models is motivated, and '.*' is one model; leave it out"):
        Predictor.load(run / 'base.pth', models=['motivated'])
    with pytest.raises(ConfigError, match=r"^'.*' holds no model; give a \.pth of a run, its work_dir"):
        Predictor.load(tmp_path)
    with pytest.raises(ConfigError, match=r"^--device is 'cuda', and '.*model\.pt2' runs on the CPU"):
        Predictor.load(exported / 'model.pt2', device='cuda')
    with pytest.raises(ConfigError, match=r"^--device is 'gpu', which cannot be used \(RuntimeError: "):
        Predictor.load(run / 'base.pth', device='gpu')


def test_model_that_does_not_fit_its_description_is_one_sentence(run, exported, tmp_path):
    shutil.copy(exported / 'model.onnx', tmp_path)
    for changes, match in (
        ({'classes': ['a', 'b']}, r'returns logits of shape \[5, 3\] for 5 images, and .* names 2 classes; it is of'),
        (
            {'input_size': [3, 9, 9], 'transforms': [{'type': 'Resize', 'size': [9, 9]}]},
            'does not take images of 3 x 9 x 9',
        ),
        ({'mean': 'a'}, 'is damaged: mean is not a list of numbers; export the model again'),
        ({'decoder': 'gpu'}, "is damaged: decoder is not 'opencv' or 'pillow' or 'scaled'; export the model again"),
        ({'transforms': [{'type': 'Resize', 'sise': 9}]}, r"^the transforms of '.*' cannot be built: .*Resize.*; "),
    ):
        (tmp_path / 'description.json').write_text(description(run, **changes))
        with pytest.raises(ConfigError, match=match):
            list(Predictor.load(tmp_path / 'model.onnx')(pictures()))
    (tmp_path / 'description.json').write_text('{')
    with pytest.raises(ConfigError, match=r"description\.json' is damaged: it is not JSON; export the model again$"):
        Predictor.load(tmp_path / 'model.onnx')
    (tmp_path / 'description.json').unlink()
    with pytest.raises(
        ConfigError, match=r"description\.json' does not exist, which describes the images of the model; export"
    ):
        Predictor.load(tmp_path / 'model.onnx')
    (tmp_path / 'model.onnx').write_bytes((exported / 'model.onnx').read_bytes()[:-30])
    (tmp_path / 'description.json').write_text(description(run))
    with pytest.raises(ConfigError, match=r"^'.*model\.onnx' is not an ONNX model that"):
        Predictor.load(tmp_path / 'model.onnx')
    torch.save({'config': {}, 'state_dict': {}, 'crafted': os.system}, 'crafted.pth')
    with pytest.raises(
        ConfigError,
        match=r"'crafted\.pth' has more than plain data and was not loaded; give another base\.pth or motivated",
    ):
        Predictor.load('crafted.pth')
    Path('model.pb').touch()
    with pytest.raises(ConfigError, match=r"^'model\.pb' is no format that can be run; give"):
        Predictor.load('model.pb')


def test_model_without_description_of_its_images_is_refused(tmp_path):
    saved_model(tmp_path / 'base.pth', 'cifar_resnet8', metainfo={'transforms': None})
    with pytest.raises(ConfigError, match=r"^'.*base\.pth' does not say the transforms of its images; give a model of"):
        Predictor.load(tmp_path / 'base.pth')


def test_unknown_classes_are_named_by_index(tmp_path):
    saved_model(tmp_path / 'base.pth', 'cifar_resnet8', size=12, metainfo={'classes': None})
    (prediction,) = Predictor.load(tmp_path / 'base.pth')(pictures(1))
    assert [guess.name for guess in prediction.top(9)] == [str(guess.index) for guess in prediction.top(3)]
    assert sum(guess.probability for guess in prediction.top(3)) == pytest.approx(1)


@pytest.mark.parametrize('workers', [0, 2])
def test_images_that_cannot_be_used_are_answered_in_their_place(run, workers):
    paths = []
    for index, kind in enumerate(['', *KINDS, '', 'png named jpg', 'pdf', '']):
        name = f'{index}.png' if kind != 'png named jpg' else f'{index}.jpg'
        pictures(1)[0].save(name, format='PNG')
        if kind in KINDS:
            damage(Path(name), kind)
        elif kind == 'pdf':
            Path(name).write_bytes(b'%PDF-1.4')
        paths.append(name)
    odd = os.fsdecode(b'na\xefve\n.png')
    shutil.copy('0.png', odd)
    paths += [odd, 'nowhere.png', '.']
    predictions = list(Predictor.load(run / 'base.pth')(paths, batch_size=2, workers=workers))
    assert [prediction.image for prediction in predictions] == paths
    good = [place for place, prediction in enumerate(predictions) if not prediction.problem]
    assert good == [0, 6, 7, 9, 10]
    for place, kind in enumerate(KINDS, 1):
        assert predictions[place].problem.startswith('is unreadable: ') and KINDS[kind] in predictions[place].problem
    assert predictions[8].problem == 'is unreadable: it is empty or not an image'
    assert [predictions[place].problem for place in (11, 12)] == [
        'is unreadable: No such file or directory', 'is unreadable: Is a directory'
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"^'1\.png' is unreadable: "):
        predictions[1].top()
    whole = predictions[0].probabilities['base']
    assert all(torch.allclose(predictions[place].probabilities['base'], whole, atol=1e-6) for place in good)


def test_image_of_another_size_is_left_out_and_stops_if_none_has_the_right_one(tmp_path):
    saved_model(tmp_path / 'base.pth', 'cifar_resnet8', size=12, metainfo={'transforms': []})
    predictor = Predictor.load(tmp_path / 'base.pth')
    right, wrong = Image.new('RGB', (12, 12)), Image.new('RGB', (20, 12))
    sentence = (
        r'is 3 x 12 x 20 \(channels, height, width\) after the transforms of validation, and the model takes 3 x 12'
    )
    problems = [prediction.problem for prediction in predictor([wrong, right, wrong])]
    assert problems[1] == '' and problems[0] == problems[2] != ''
    with pytest.raises(
        ConfigError, match=rf"^image 0 {sentence} x 12; resize it, or train with .*'Resize', size=\[12, 12\]"
    ):
        list(predictor([wrong, right], batch_size=1))


def test_logits_that_are_not_finite_are_no_answer(tmp_path):
    deployable = saved_model(tmp_path / 'base.pth', 'cifar_resnet8', size=12)
    predictor = Predictor.load(tmp_path / 'base.pth')
    predictor.models['base'] = OpenedModel(
        Path('base.pth'), deployable.metainfo, lambda images: torch.full((len(images), 3), float('nan'))
    )
    assert [prediction.problem for prediction in predictor(pictures(2))] == ['gives logits that are not finite'] * 2


def test_arguments_out_of_range_are_refused_before_anything_is_read(run):
    predictor = Predictor.load(run / 'base.pth')
    for arguments, match in (
        ({'batch_size': 0}, 'batch_size must be at least 1'),
        ({'workers': -1}, 'workers must be'),
    ):
        with pytest.raises(ConfigError, match=match):
            predictor(['nowhere.png'], **arguments)


def test_images_of_every_mode_are_read_as_in_training():
    folder = Path('images/train/a')
    folder.mkdir(parents=True)
    image = pictures(1)[0]
    image.convert('CMYK').save(folder / '0.jpg')
    image.quantize(16).save(folder / '1.png', transparency=bytes([0] * 16))
    image.convert('LA').save(folder / '2.png')
    image.convert('1').save(folder / '3.png')
    Image.fromarray((np.arange(400, dtype=np.uint16) * 163).reshape(20, 20)).save(folder / '4.png')
    image.save(folder / '5.webp')
    Image.fromarray(np.ones((20, 20), np.float32)).save(folder / '6.tiff')
    dataset = TimmDataset('images', on_error='skip')
    paths = find_images([str(folder)])
    for decoder in ('opencv', 'pillow'):
        read = UnlabelledImages(paths, [], 'RGB', decoder, [3, 20, 20])
        for index in range(6):
            assert torch.equal(read[index]['inputs'], dataset[index]['inputs']), paths[index]
        assert read[6]['problem'] == dataset[6]['skipped'][1]


def test_what_a_decoder_guessed_is_remarked(run):
    pictures(1)[0].save('a.jpg')
    whole = Path('a.jpg').read_bytes()
    Path('b.jpg').write_bytes(whole[:-2] + bytes([18] * 20) + whole[-2:])
    for prediction, said in zip(
        Predictor.load(run / 'base.pth')(['a.jpg', 'b.jpg', 'a.jpg']), ('', 'Corrupt', ''), strict=True
    ):
        assert prediction.problem == '' and bool(prediction.remark) == bool(said)
        assert said in prediction.remark and prediction.probabilities


def test_broken_package_is_named_and_not_the_file(exported, tmp_path, monkeypatch):
    (tmp_path / 'broken.py').write_text("raise ImportError('no lib')")
    monkeypatch.setattr(EXPORTERS.get('torch'), 'runtime', tmp_path / 'broken.py')
    with pytest.raises(
        ConfigError, match=r"a package of format 'torch' cannot be imported \(ImportError: no lib.*\); ins"
    ):
        Predictor.load(exported / 'model.pt2')
