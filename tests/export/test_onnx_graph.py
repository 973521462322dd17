import io
import json
import runpy
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image

from motivation.errors import ConfigError
from motivation.export import onnx_graph
from motivation.registry import EXPORTERS
from tests.conftest import ROOT
from tests.export.trained_digits import digits, trained_digits

ONNX = EXPORTERS.get('onnx')
LOAD = runpy.run_path(str(ONNX.runtime))['load']
KINDS = pytest.mark.parametrize('raw_input', [False, True], ids=['normalised', 'uint8'])


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """An exported folder by kind of input, and what was printed meanwhile."""
    images, _ = digits('train')
    folders, printed = {}, io.StringIO()
    for raw_input, count in ((False, 1), (True, 4)):  # one image must do as an example of batches of any size
        folder = folders[raw_input] = tmp_path_factory.mktemp('exported')
        deployable = trained_digits(raw_input)
        with redirect_stdout(printed), redirect_stderr(printed):
            ONNX().export(deployable, images[:count], folder / ONNX.file)
        (folder / 'description.json').write_text(json.dumps(deployable.metainfo))
    return folders, printed.getvalue()


@pytest.fixture
def folders(exported):
    return exported[0]


@KINDS
def test_graph_gives_the_logits_of_the_model_for_batches_of_any_size(folders, raw_input):
    model = trained_digits().model
    images, _ = digits('test')
    loaded = LOAD(folders[raw_input] / ONNX.file)
    assert loaded.takes_uint8 is raw_input and loaded.largest_batch is None
    with torch.no_grad():
        expected = model.backbone((images / 255 - 0.3054) / 0.3760).numpy()
    inputs = images if raw_input else (images / 255 - 0.3054) / 0.3760
    for count in (1, 3, 64):
        logits = loaded(inputs[:count].numpy())
        assert logits.dtype == np.float32 and logits.shape == (count, 10)
        assert np.abs(logits - expected[:count]).max() < 1e-5 * np.abs(expected).max()


STRANGER = """
import json, sys
from pathlib import Path
import numpy, onnxruntime
from PIL import Image

folder, images = map(Path, sys.argv[1:])
about = json.loads((folder / 'description.json').read_text())
session = onnxruntime.InferenceSession(folder / 'model.onnx')
(taken,) = session.get_inputs()
correct = total = 0
for name in about['classes']:
    files = sorted((images / name).iterdir())
    pixels = numpy.stack([numpy.asarray(Image.open(file).convert(about['image_mode'])) for file in files])[:, None]
    if taken.type == 'tensor(float)':
        mean, std = (numpy.reshape(about[key], (1, -1, 1, 1)) for key in ('mean', 'std'))
        pixels = ((pixels / 255 - mean) / std).astype(numpy.float32)
    (logits,) = session.run(None, {taken.name: pixels})
    correct += sum(about['classes'][k] == name for k in logits.argmax(1))
    total += len(files)
assert not {'torch', 'motivation'} & set(sys.modules)
print(correct, total)
"""


@KINDS
def test_stranger_without_torch_classifies_digits_with_the_accuracy_of_the_model(folders, raw_input, tmp_path):
    model = trained_digits().model
    images, targets = digits('test')
    for index, (image, target) in enumerate(zip(images, targets, strict=True)):
        (tmp_path / str(int(target))).mkdir(exist_ok=True)
        Image.fromarray(image[0].numpy()).save(tmp_path / str(int(target)) / f'{index}.png')
    command = [sys.executable, '-I', '-c', STRANGER, str(folders[raw_input]), str(tmp_path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    with torch.no_grad():
        predicted = model(model.data_preprocessor({'inputs': images})['inputs']).argmax(1)
    correct = int((predicted == targets).sum())
    assert correct > 300
    assert output.split() == [str(correct), '360']


@KINDS
def test_file_says_what_it_takes_and_nothing_of_the_machine_that_wrote_it(folders, raw_input):
    path = folders[raw_input] / ONNX.file
    model = onnx.load(path)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [('', 18)]
    (taken,) = model.graph.input
    assert taken.name == ('images' if raw_input else 'normalised_images')
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said['input'] == ('uint8 images, 0 to 255' if raw_input else 'images (pixels / 255 - mean) / std, float32')
    assert said['input'] in model.doc_string
    assert json.loads(said['classes']) == [str(digit) for digit in range(10)]
    assert (json.loads(said['mean']), json.loads(said['std'])) == ([0.3054], [0.3760])
    assert str(ROOT).encode() not in path.read_bytes()
    weights = sum(parameter.numel() for parameter in trained_digits().model.parameters()) * 4
    assert path.stat().st_size < 1.1 * weights
    assert [file.name for file in sorted(path.parent.iterdir())] == ['description.json', 'model.onnx']


def test_export_prints_nothing(exported):
    assert exported[1] == ''


def test_model_beyond_the_size_of_a_file_is_refused_and_leaves_none(monkeypatch, tmp_path):
    monkeypatch.setattr(onnx_graph, 'LARGEST_FILE', 1000)
    with pytest.raises(ConfigError, match=r"^the model has 0\.0 GiB of weights, .* less than 2; export it as 'torch'$"):
        ONNX().export(trained_digits(), digits('train')[0][:2], tmp_path / ONNX.file)
    assert list(tmp_path.iterdir()) == []


def test_model_that_is_not_translated_is_refused_and_leaves_no_file(monkeypatch, tmp_path):
    monkeypatch.setattr(
        trained_digits().model.backbone, 'forward', lambda images: torch.linalg.eigvals(images[:, 0]).abs()
    )
    with pytest.raises(
        ConfigError, match=r"^the model cannot be translated to ONNX: .*linalg_eig.*; export it as 'torch'"
    ):
        ONNX().export(trained_digits(), digits('train')[0][:2], tmp_path / ONNX.file)
    assert list(tmp_path.iterdir()) == []


def graph_file(path, inputs, output=(None, 10), name='images'):
    """Write an ONNX model that adds up its inputs; ``inputs``: shapes of float32 inputs."""
    values = [helper.make_tensor_value_info(f'{name}{i}', TensorProto.FLOAT, shape) for i, shape in enumerate(inputs)]
    logits = helper.make_tensor_value_info('logits', TensorProto.FLOAT, output)
    node = helper.make_node('Sum', [value.name for value in values], ['logits'])
    graph = helper.make_graph([node], 'other', values, [logits])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=10), path)


@pytest.mark.parametrize(
    ('inputs', 'problem'),
    [
        ([(None, 10), (None, 10)], 'it has 2 inputs and 1 outputs, not one of each'),
        ([(None, 10)], r'its input is a tensor\(float\) of shape \[None, 10\], not uint8 or float'),
    ],
)
def test_model_of_something_else_is_refused_in_one_sentence(tmp_path, inputs, problem):
    graph_file(tmp_path / 'other.onnx', inputs)
    with pytest.raises(ValueError, match=rf"^'.*other\.onnx' is not a model of images: {problem}"):
        LOAD(tmp_path / 'other.onnx')


def test_damaged_and_missing_files_are_refused_in_one_sentence(folders, tmp_path, capfd):
    (tmp_path / 'cut.onnx').write_bytes((folders[True] / ONNX.file).read_bytes()[:-1000])
    (tmp_path / 'text.onnx').write_text('<html>404</html>')
    for name in ('cut.onnx', 'text.onnx'):
        with pytest.raises(
            ValueError, match=rf"^'.*{name}' is not an ONNX model that ONNX Runtime .*; export it again$"
        ):
            LOAD(tmp_path / name)
    with pytest.raises(ValueError, match=r"^ONNX model 'gone\.onnx' does not exist"):
        LOAD('gone.onnx')
    assert capfd.readouterr() == ('', '')


def test_images_that_the_graph_does_not_take_are_refused_in_one_sentence(folders):
    loaded = LOAD(folders[True] / ONNX.file)
    for wrong in (np.zeros((2, 1, 9, 9), np.uint8), np.zeros((2, 1, 8, 8), np.float32), np.zeros((1, 8, 8), np.uint8)):
        with pytest.raises(ValueError, match=r'^inputs must be uint8 of shape \(N, 1, 8, 8\), got '):
            loaded(wrong)
