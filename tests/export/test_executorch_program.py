import json
import os
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from mmengine.model import BaseModel
from PIL import Image
from torch import nn

from motivation.datasets import DigitsDataset
from motivation.errors import ConfigError
from motivation.export.deployable import Deployable
from motivation.export.executorch_int8 import ExecutorchInt8
from motivation.export.executorch_program import ExecutorchProgram, capture
from motivation.models import TimmClassifier
from motivation.models.preprocessor import ImagePreprocessor
from motivation.registry import EXPORTERS

pytest.importorskip('executorch')

IMAGES = 40  # to compare on


def digits(split, count):
    samples = [DigitsDataset(split)[index] for index in range(count)]
    return torch.stack([sample['inputs'] for sample in samples]), torch.tensor([int(x['targets']) for x in samples])


class TwoLayers(BaseModel):
    """A convolution and a linear layer, which lower in no time."""

    def __init__(self):
        super().__init__(ImagePreprocessor(mean=[0.3], std=[0.4]))
        self.convolution, self.head = nn.Conv2d(1, 8, 3), nn.Linear(8 * 36, 10)

    def forward(self, inputs):
        return self.head(self.convolution(inputs).relu().flatten(1))


def trained(model):
    """Train a model on 640 digits, since an untrained ResNet has branches of zeros."""
    images, targets = digits('train', 640)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(5):
        for batch, labels in zip(images.split(64), targets.split(64), strict=True):
            loss = nn.functional.cross_entropy(model(model.data_preprocessor({'inputs': batch})['inputs']), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def expected(deployable):
    with torch.no_grad():
        return deployable.network()(deployable.inputs(digits('test', IMAGES)[0])).numpy()


def difference(logits, of_torch):
    return np.abs(logits - of_torch).max() / np.abs(of_torch).max()


@pytest.fixture(scope='module')
def load():
    from motivation.export.runtimes.executorch_program import load

    return load


@pytest.fixture(scope='module')
def resnet(tmp_path_factory):
    """A trained ResNet, and the folder that it was exported to."""
    torch.manual_seed(0)
    deployable = Deployable(trained(TimmClassifier('cifar_resnet8', 10, in_chans=1, mean=[0.3], std=[0.4])))
    folder = tmp_path_factory.mktemp('base')
    EXPORTERS.build(dict(type='executorch')).export(deployable, digits('train', 2)[0], folder / 'model.pte')
    return deployable, folder


@pytest.fixture(scope='module')
def two_layers(tmp_path_factory):
    """A small trained network that takes uint8 images, and its int8 program: a float one would take seconds more."""
    torch.manual_seed(0)
    deployable = Deployable(trained(TwoLayers()), raw_input=True)
    path = tmp_path_factory.mktemp('raw') / 'model_int8.pte'
    ExecutorchInt8().export(deployable, digits('train', 40)[0], path)
    return deployable, path


def test_program_gives_the_logits_of_pytorch(resnet, load):
    deployable, folder = resnet
    program = load(folder / 'model.pte')
    assert (program.takes_uint8, program.largest_batch) == (False, 1)
    inputs = deployable.inputs(digits('test', IMAGES)[0]).numpy()
    logits, of_torch = program(inputs), expected(deployable)
    assert logits.dtype == np.float32 and logits.shape == (IMAGES, 10)
    assert difference(logits, of_torch) < 1e-5
    assert np.array_equal(program(inputs[5:6]), logits[5:6])


def test_lines_of_the_model_card_run(resnet):
    deployable, folder = resnet
    names = {'images': deployable.inputs(digits('test', 1)[0])}
    exec(EXPORTERS.get('executorch').loading.replace('{file}', str(folder / 'model.pte')), names)
    assert difference(names['logits'].numpy(), expected(deployable)[:1]) < 1e-5


def test_int8_program_of_raw_images_classifies_as_pytorch_does(two_layers, load):
    deployable, path = two_layers
    program = load(path)
    assert program.takes_uint8
    images, targets = digits('test', IMAGES)
    logits, of_torch = program(images.numpy()), expected(Deployable(deployable.model))
    assert 1e-4 < difference(logits, of_torch) < 0.1
    correct = (of_torch.argmax(1) == targets.numpy()).mean()
    assert correct > 0.8 and abs((logits.argmax(1) == targets.numpy()).mean() - correct) <= 0.05


STRANGER = """
import json, sys
from pathlib import Path

import numpy as np
import torch
from executorch.runtime import Runtime
from PIL import Image

folder, *files = map(Path, sys.argv[1:])
about = json.loads((folder / 'description.json').read_text())
program = Runtime.get().load_program(folder / 'model.pte')
method = program.load_method('forward')
for file in files:
    pixels = np.asarray(Image.open(file).convert(about['image_mode']), np.float32).reshape(*about['input_size'][1:], -1)
    image = torch.from_numpy(pixels / 255).permute(2, 0, 1)
    image = (image - torch.tensor(about['mean']).view(-1, 1, 1)) / torch.tensor(about['std']).view(-1, 1, 1)
    logits = method.execute([image[None].contiguous()])[0]
    print(about['classes'][logits.argmax()])
assert 'motivation' not in sys.modules
"""


def test_a_stranger_classifies_digits_with_executorch_alone(resnet):
    deployable, folder = resnet
    names = [f'digit {digit}' for digit in range(10)]
    about = dict(classes=names, input_size=[1, 8, 8], mean=[0.3], std=[0.4], image_mode='L')
    (folder / 'description.json').write_text(json.dumps(about))
    images, targets = digits('test', 20)
    files = [f'{index}.png' for index in range(20)]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image[0].numpy()).save(file)
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    said = subprocess.run(
        [sys.executable, '-I', '-c', STRANGER, folder, *files],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert said == [names[index] for index in expected(deployable)[:20].argmax(1)]
    assert np.mean([name == names[target] for name, target in zip(said, targets, strict=True)]) > 0.8


@pytest.mark.parametrize(
    'damage',
    [lambda data: data[:100], lambda data: data[: len(data) // 2], lambda data: b'', lambda data: b'PK\3\4' * 5000],
)
def test_damaged_file_raises_in_one_sentence(damage, two_layers, load, tmp_path, capfd):
    (tmp_path / 'model.pte').write_bytes(damage(two_layers[1].read_bytes()))
    with pytest.raises(ValueError, match=r"model\.pte' is not a program that ExecuTorch can run: .+; export it again$"):
        load(tmp_path / 'model.pte')
    assert capfd.readouterr().err == ''


def test_images_of_another_type_or_size_are_refused(two_layers, load):
    program = load(two_layers[1])
    with pytest.raises(ValueError, match=r'^images must be uint8 of shape \(N, 1, 8, 8\), got float32 \(2, 1, 8, 8\)'):
        program(np.zeros((2, 1, 8, 8), np.float32))
    with pytest.raises(ValueError, match=r'got uint8 \(2, 1, 9, 8\)'):
        program(np.zeros((2, 1, 9, 8), np.uint8))


def test_attention_is_traced_as_operators_of_xnnpack_and_stays_fused_in_the_model():
    model = timm.create_model('test_vit', num_classes=3, img_size=32).eval()
    captured = capture(model, torch.randn(1, 3, 32, 32))
    operators = {str(node.target) for node in captured.graph.nodes}
    assert 'aten.softmax.int' in operators and not any('scaled_dot_product' in name for name in operators)
    assert all(block.attn.fused_attn is True for block in model.blocks)


class Branching(TwoLayers):
    """A model whose way depends on its images."""

    def forward(self, inputs):
        return super().forward(inputs if inputs.mean() > 0 else -inputs)


def test_model_that_cannot_be_traced_raises_with_a_way_out_and_leaves_no_file(tmp_path):
    with pytest.raises(
        ConfigError, match=r'^torch\.export cannot trace the model, .+; change the model, or choose other'
    ):
        ExecutorchProgram().export(Deployable(Branching().eval()), digits('train', 2)[0], tmp_path / 'model.pte')
    assert list(tmp_path.iterdir()) == []
