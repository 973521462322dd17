import json
import re
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
import torch
from mmengine.config import Config

from motivation.errors import ConfigError
from motivation.export.finished_run import FinishedRun
from motivation.export.model_card import write_card
from motivation.registry import EXPORTERS
from tests.conftest import classifier
from tests.export.models import images_of, saved_model
from tests.report.reports import model_compute, model_report, run_report

PARITY = dict(
    input='normalised', int8=False, images=360, largest_difference=2.5e-7, equal_top1=0.9975, accuracy_top1=99.17,
    pytorch_accuracy_top1=99.44, bytes=2048, parameters=78042, macs=1_250_000, latency_ms_batch_1=0.5,
    latency_ms_batch=12.25, batch_size=64, peak_memory_bytes=2**28,
)  # fmt: skip


def finished_run(folder, report=None):
    config = dict(
        model=dict(
            base=classifier('test_resnet'),
            motivated=classifier('resnet18'),
            weight_map=dict(type='AutoMap', placement='spread'),
        ),
        motivation=dict(policy=dict(type='ConsecutiveDrop', drops=3)),
        train_dataloader=dict(batch_size=48, dataset=dict(type='TimmDataset', root='/home/me/flowers', split='train')),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.25)),
        randomness=dict(seed=5),
    )
    return FinishedRun(folder, Config(config, cfg_text='-', filename='/home/me/flowers.py'), {}, report)


def report():
    base = model_report({'accuracy/top1': 91.25}, model_compute(3 * 10**12))
    return run_report(base, model_report({'accuracy/top1': 93.5}, model_compute(2 * 10**12))).to_json()


def exported(folder, formats, name='test_resnet', **arguments):
    """Export a model, and return it with the folder."""
    (folder / 'base').mkdir(parents=True)
    deployable = saved_model(folder / 'base.pth', name, **arguments)
    for format_name in formats:
        exporter = EXPORTERS.get(format_name)
        exporter().export(deployable, images_of(2, deployable.model.input_size[0]), folder / 'base' / exporter.file)
    return deployable, folder / 'base'


def pooling_graph(path):
    """Write an ONNX graph with the input and output of an exported model, which takes seconds to export."""
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    value, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    nodes = [onnx.helper.make_node('ReduceMean', ['images'], ['logits'], axes=[2, 3], keepdims=0)]
    graph = onnx.helper.make_graph(
        nodes, 'pool', [value('images', kind, ['N', 3, 32, 32])], [value('logits', kind, ['N', 3])]
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid('', 13)], ir_version=8), path)


@pytest.fixture(scope='module')
def card(tmp_path_factory):
    """Return the deployable, the folder and the card of a model in three formats."""
    folder = tmp_path_factory.mktemp('run')
    deployable, models = exported(folder, ['timm', 'torch'])
    pooling_graph(models / 'model.onnx')
    for file in ('model.safetensors', 'model.pt2', 'model_int8.pte'):
        (models / f'{file}.parity.json').write_text(json.dumps(PARITY))
    write_card(models, 'base', finished_run(folder, report()), deployable)
    return deployable, models, (models / 'README.md').read_text()


def code_of(text):
    """Return the Python of each file that a card shows how to load."""
    return dict(re.findall(r'^`([^`]+)`; images: .*?```python\n(.*?)```', text, flags=re.S | re.M))


def test_lines_that_load_each_file_run(card, monkeypatch):
    deployable, folder, text = card
    monkeypatch.chdir(folder)
    code = code_of(text)
    assert set(code) == {'model.safetensors', 'model.pt2', 'model.onnx'}
    images = deployable.inputs(images_of(3))
    expected = deployable.network()(images)
    for file in ('model.safetensors', 'model.pt2'):
        names = {'images': images}
        exec(code[file], names)
        assert torch.allclose(names['logits'], expected, atol=1e-5)
        assert len([line for line in code[file].splitlines() if line and not line.startswith('import')]) <= 3
    names = {'images': images.numpy()}
    exec(code['model.onnx'], names)
    assert torch.allclose(torch.from_numpy(names['logits']), images.mean((2, 3)), atol=1e-5)


def test_hub_reads_the_header_and_the_license_is_left_to_the_user(card):
    _, _, text = card
    data = huggingface_hub.ModelCard(text).data
    assert data.library_name == 'timm' and data.pipeline_tag == 'image-classification'
    assert data.tags == ['image-classification', 'motivation', 'timm', 'torch', 'onnx']
    assert data.license is None
    assert '# license: \n' in text and 'Whoever publishes this model fills in the field `license`' in text


def test_card_says_what_the_model_is_and_how_it_was_trained(card):
    _, _, text = card
    for said in (
        '# test_resnet, the base model of a pair',
        'base: `test_resnet`, motivated: `resnet18`; weight map: `AutoMap(placement=\'spread\')`',
        'In the order of the logits: `ant`, `bee`, `cat`.',
        '- images: 3, 32, 32, mode `RGB`',
        '- config: `flowers.py`',
        "- data: `TimmDataset(root='flowers', split='train')`, batches of 48",
        "- optimizer: `SGD(lr=0.25)`",
        '- policy: ConsecutiveDrop(drops=2)',
        '- seed: 7',
        '- training FLOPs of both: 5e+12',
        '| accuracy/top1 | 91.25 | 93.50 |',
        '| training FLOPs | 3e+12 | 2e+12 |',
    ):  # fmt: skip
        assert said in text, said
    assert '/home/me' not in text


def test_table_has_the_measured_files_that_are_there(card):
    _, _, text = card
    assert '| `model.pt2` | normalised | 360 | 2 | 2.5e-07 | 99.75 | 99.17 | 99.44 | 0.50 | 12.25 | 256 |' in text
    assert '1.250 MMACs an image. Largest' in text
    assert 'model_int8.pte' not in text


@pytest.mark.parametrize(
    ('name', 'arguments', 'said'),
    [
        (
            'cifar_resnet8',
            {},
            '**timm alone does not have this network**: `import motivation.models.cifar_resnet` first',
        ),
        (
            'test_efficientnet',
            {'stem': 'cifar'},
            "**timm alone cannot rebuild this network** (`stem='cifar'` changed its",
        ),
    ],
)
def test_network_that_timm_lacks_is_said_first_and_its_lines_run(tmp_path, monkeypatch, name, arguments, said):
    deployable, folder = exported(tmp_path, ['timm'], name, **arguments)
    write_card(folder, 'base', finished_run(tmp_path), deployable)
    text = (folder / 'README.md').read_text()
    assert said in text.partition('---\n\n# ')[2].split('\n')[2]
    assert 'library_name' not in text
    monkeypatch.chdir(folder)
    names = {'images': deployable.inputs(images_of(2))}
    exec(code_of(text)['model.safetensors'], names)
    assert torch.equal(names['logits'], deployable.network()(names['images']))


def test_model_without_a_report_has_a_card_from_its_config(tmp_path):
    deployable, folder = exported(tmp_path, [])
    deployable.model.metainfo['classes'] = [f'class {number}' for number in range(120)]
    write_card(folder, 'best_base_ema', finished_run(tmp_path), deployable)
    text = (folder / 'README.md').read_text()
    assert 'with the weights of its best validation and averaged over training (EMA).' in text
    assert '- policy: `ConsecutiveDrop(drops=3)`\n- seed: 5\n' in text and 'There is no report of the run.' in text
    assert '`class 99` and 20 more, in `description.json`' in text and '`class 100`' not in text


def test_names_with_backticks_stay_code(tmp_path):
    deployable, folder = exported(tmp_path, [])
    deployable.model.metainfo['classes'] = ['`', 'a``b', 'plain', '<b>\n[x](y)']
    write_card(folder, 'base', finished_run(tmp_path), deployable)
    assert 'of the logits: `` ` ``, ``` a``b ```, `plain`, `<b> [x](y)`.\n' in (folder / 'README.md').read_text()


def test_card_of_a_checkpoint_names_it_and_its_training(tmp_path):
    deployable, folder = exported(tmp_path, [])
    run = replace(finished_run(tmp_path), checkpoint=tmp_path / 'epoch_2.pth')
    run.config.train_cfg = dict(max_epochs=8)
    write_card(folder, 'base', run, deployable)
    text = (folder / 'README.md').read_text()
    assert '- checkpoint: `epoch_2.pth`, of a training of 8 epochs\n- config: `flowers.py`\n' in text
    assert 'There is no report of this checkpoint.' in text


def test_damaged_parity_report_is_named(tmp_path):
    deployable, folder = exported(tmp_path, [])
    Path(folder / 'model.onnx.parity.json').write_text('{"input"')
    with pytest.raises(ConfigError, match=r"model\.onnx\.parity\.json' is damaged; export the model again$"):
        write_card(folder, 'base', finished_run(tmp_path), deployable)
