"""Models over token sequences, from config to exported file."""

import json
import shutil

import pytest
import torch
from rich.console import Console
from torch import nn
from torch.utils.data import default_collate

from motivation.compute.macs import measure_model
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.export.exported_model import load_exported
from motivation.hooks import ComputeMeterHook, MotivationHook
from motivation.report.flops_table import describe_pair, pair_tables
from motivation.structures import MODEL_NAMES
from motivation.utils.batches import first_sample
from motivation.utils.checkpoint import find_checkpoints
from motivation.weight_maps import AutoMap, verify
from tests.conftest import train
from tests.tokens import LENGTH, TOKENS, dual_model, tokens_config


def logits(model, batch):
    with torch.no_grad():
        return model.eval()(batch['inputs'])


# For each tensor of the motivated model, the entries of each dimension that belong to the base model.
STREAM, WHOLE = range(16), None
QKV = [*range(16), *range(32, 48), *range(64, 80)]  # of each of q, k and v the first of two heads
IMAGES = {
    'embed.weight': (WHOLE, STREAM),
    'position': (WHOLE, WHOLE, STREAM),
    **{f'layers.0.{norm}.{own}': (STREAM,) for norm in ('norm1', 'norm2') for own in ('weight', 'bias')},
    'layers.0.qkv.weight': (QKV, STREAM),
    'layers.0.qkv.bias': (QKV,),
    'layers.0.proj.weight': (STREAM, STREAM),
    'layers.0.proj.bias': (STREAM,),
    'layers.0.fc1.weight': (range(32), STREAM),
    'layers.0.fc1.bias': (range(32),),
    'layers.0.fc2.weight': (STREAM, range(32)),
    'layers.0.fc2.bias': (STREAM,),
    'norm.weight': (STREAM,),
    'norm.bias': (STREAM,),
    'head.weight': (WHOLE, STREAM),
    'head.bias': (WHOLE,),
}


def image(tensor, entries):
    for dim, positions in enumerate(entries):
        if positions is not WHOLE:
            tensor = tensor.index_select(dim, torch.tensor([*positions]))
    return tensor


def test_every_tensor_is_transferred_to_its_image_and_back():
    model = dual_model()
    weight_map = model.weight_map
    assert {pair.base: pair.motivated for pair in weight_map.pairs} == {name: name for name in IMAGES}
    base, motivated = weight_map.tensors('base'), weight_map.tensors('motivated')
    assert base.keys() == IMAGES.keys()
    with torch.no_grad():
        for tensor in base.values():
            tensor.copy_(torch.randn_like(tensor))
        untouched = motivated['layers.1.qkv.weight'].clone()
        weight_map.transfer('base')
        for name, entries in IMAGES.items():
            assert torch.equal(image(motivated[name], entries), base[name]), name
        assert torch.equal(motivated['layers.1.qkv.weight'], untouched)
        for tensor in motivated.values():
            tensor.copy_(torch.randn_like(tensor))
        weight_map.transfer('motivated')
        for name, entries in IMAGES.items():
            assert torch.equal(base[name], image(motivated[name], entries)), name


def test_map_is_verified_on_token_indices():
    model = dual_model()
    verdict = verify(model.weight_map)
    assert verdict.is_valid and verdict.kind == 'norms apart'
    deeper = verify(dual_model(motivated=(16, 3)).weight_map)
    assert deeper.is_valid and deeper.kind == 'exact'


def test_zero_extension_reports_wider_norms():
    deeper = dual_model(motivated=(16, 3))
    batch = deeper.base.example_batch(5)
    assert deeper.extension_caveats == []
    assert torch.equal(logits(deeper.base, batch), logits(deeper.motivated, batch))
    assert dual_model().extension_caveats == [
        "3 norms take their statistics over more channels ('layers.0.norm1' first)"
    ]


class Plain(nn.Module):
    """A module without a data preprocessor or ``example_batch``."""

    def __init__(self, width):
        super().__init__()
        self.embed, self.head = nn.Embedding(TOKENS, width), nn.Linear(width, 2)

    def forward(self, tokens):
        return self.head(self.embed(tokens).mean(dim=1))


def test_plain_modules_are_mapped_on_an_example_input():
    tokens = torch.tensor([[0, 1, 2], [2, 2, 1]])
    weight_map = AutoMap(Plain(4), Plain(6), example_input=tokens)
    assert {pair.base: pair.index for pair in weight_map.pairs} == {
        'embed.weight': (None, (0, 1, 2, 3)), 'head.weight': (None, (0, 1, 2, 3)), 'head.bias': ()
    }  # fmt: skip
    assert verify(weight_map).is_valid


def attention_module(width):
    layer = nn.TransformerEncoderLayer(width, width // 8, 2 * width, batch_first=True, norm_first=True)
    encoder = nn.TransformerEncoder(layer, width // 16, enable_nested_tensor=False)
    return nn.Sequential(nn.Embedding(TOKENS, width, padding_idx=0), encoder, nn.Linear(width, 2))


@pytest.mark.parametrize(
    'make', [attention_module, lambda width: nn.Sequential(nn.EmbeddingBag(TOKENS, width), nn.Linear(width, 2))]
)
def test_layers_of_torch_are_mapped_in_width_and_depth(make):
    weight_map = AutoMap(make(16), make(32), example_input=torch.arange(12).view(4, 3) % TOKENS)
    assert verify(weight_map).is_valid


def test_table_of_another_vocabulary_is_an_error():
    base, motivated = Plain(4), Plain(6)
    motivated.embed = nn.Embedding(TOKENS + 1, 6)
    with pytest.raises(
        ConfigError, match=r"of 'embed\.weight', dimension 0 is 3 in the base and 4 .*\(looked up by index\)"
    ):
        AutoMap(base, motivated, example_input=torch.tensor([[0, 1, 2]]))


def forward_macs(width, layers, attention=2):
    """Return the MACs of one sequence: linear layers over all tokens, attention, and the head on the mean."""
    linear = LENGTH * (3 * width**2 + width**2 + 2 * 2 * width**2)
    return layers * (linear + attention * LENGTH**2 * width) + TOKENS * width


@pytest.mark.parametrize('masked', [False, True])
def test_macs_equal_those_by_hand(masked):
    model = dual_model(masked=masked)
    for name, width, layers in (('base', 16, 1), ('motivated', 32, 2)):
        sample = {key: value[:1] for key, value in model.base.example_batch(1).items()}
        macs = measure_model(getattr(model, name), sample, batch_size=16, check=True)
        assert macs.network == macs.inference == macs.step.forward == (forward_macs(width, layers), 0)
        # Gradients of inputs and weights; attention recomputes its scores and has four further products.
        products = 2 * (forward_macs(width, layers, attention=0))
        assert macs.step.backward == (products + layers * 5 * LENGTH**2 * width, 0)


def test_planned_run_is_counted_in_samples():
    model = dual_model(masked=True)
    sample = first_sample(model.base.example_batch(3))
    pair = describe_pair({name: getattr(model, name) for name in MODEL_NAMES}, sample, images=66, batch_size=8)
    assert pair['input'] == [LENGTH] and pair['base']['forward_macs_per_image'] == forward_macs(16, 1)
    console = Console(width=120)
    with console.capture() as said:
        console.print(*pair_tables(pair, detail=True))
    assert (
        'a run of 66 samples' in said.get() and 'MMACs a sample by operator' in said.get() and 'image' not in said.get()
    )


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp('whole')
    return train(tokens_config(folder)), folder


def test_run_switches_trains_and_counts(whole):
    """The last, shorter batch is counted with its own number of sequences."""
    runner, _ = whole
    trace, meter = runner.find_hook(MotivationHook).trace, runner.find_hook(ComputeMeterHook).meter
    assert len(trace.losses) == 18 and 0 < trace.motivated_fraction < 1
    assert sum(meter.trained[name].images for name in MODEL_NAMES) == 2 * 66
    for name, width, layers in (('base', 16, 1), ('motivated', 32, 2)):
        assert meter.trained[name].images > 0
        assert meter.forward_flops(name) == 2 * meter.trained[name].images * forward_macs(width, layers)


def test_exported_models_have_the_shared_weights_and_predictions(whole):
    runner, folder = whole
    exported = {name: load_exported(folder / f'{name}.pth') for name in MODEL_NAMES}
    for name, entries in IMAGES.items():
        assert torch.equal(
            image(exported['motivated'].state_dict()[name], entries), exported['base'].state_dict()[name]
        )
    batch = runner.model.base.example_batch(7)
    runner.model.transfer()
    for name, model in exported.items():
        assert torch.equal(logits(model, batch), logits(getattr(runner.model, name), batch))
        assert model.metainfo == {'classes': None}


def test_metrics_and_report_name_samples(whole):
    runner, folder = whole
    report = json.loads((folder / 'report.json').read_text())
    data = runner.val_dataloader.dataset.samples
    for name in MODEL_NAMES:
        model = load_exported(folder / f'{name}.pth')
        right = [logits(model, default_collate([one])).argmax().item() == one['targets'] for one in data]
        assert report[name]['metrics']['accuracy/top1'] == pytest.approx(100 * sum(right) / len(data))
    assert 'forward MMACs a sample' in (text := (folder / 'report.md').read_text()) and 'image' not in text


def test_test_run_scores_both_models(whole):
    _, folder = whole
    config = tokens_config(folder / 'test', load_from=str(find_checkpoints(folder)[-1]))
    metrics = DualModelRunner.from_cfg(config).test()
    scored = json.loads((folder / 'report.json').read_text())
    for name in MODEL_NAMES:
        assert metrics[f'{name}/accuracy/top1'] == scored[name]['metrics']['accuracy/top1']


def test_resumed_run_equals_the_uninterrupted_run_bit_for_bit(whole, tmp_path):
    runner, folder = whole
    shutil.copytree(folder, tmp_path / 'run')
    for path in find_checkpoints(tmp_path / 'run')[1:]:
        path.unlink()
    resumed = train(tokens_config(tmp_path / 'run', resume=True))
    assert resumed.iter == runner.iter == 18
    for name, tensor in runner.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    assert resumed.find_hook(MotivationHook).trace.losses == runner.find_hook(MotivationHook).trace.losses


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(masked=True),
        dict(collate='default_collate'),
        dict(collate='pseudo_collate', preprocessor=dict(type='StackingPreprocessor')),
    ],
    ids=['tokens', 'two inputs', 'default_collate', 'pseudo_collate'],
)
def test_check_passes(options, capsys, tmp_path):
    train(tokens_config(tmp_path, **{**options, 'train_cfg.type': 'CheckLoop'}))
    said = capsys.readouterr().out
    assert '64 of 66 samples of train_dataloader read and transformed' in said
    assert 'base trained on a batch of 8 samples' in said and 'motivated trained on a batch of 8 samples' in said
    assert 'both models predicted a batch' in said and 'image' not in said


def test_samples_that_a_model_does_not_accept_are_an_error(tmp_path):
    config = tokens_config(tmp_path)
    config.train_dataloader.dataset.length = 5
    with pytest.raises(
        ConfigError,
        match=r'^model\.base does not take the samples of inputs \(5,\) int64 of train_dataloader\.dataset: .*size of tensor',
    ):
        train(config)


def test_reestimation_without_statistics_and_distillation_run(tmp_path):
    options = {
        'model.recalibrate': 16,
        'model.distillation': dict(weight=0.5),
        'motivation.policy': dict(type='Always'),
    }
    runner = train(tokens_config(tmp_path, epochs=1, masked=True, policy=dict(type='Always'), **options))
    meter = runner.find_hook(ComputeMeterHook).meter
    assert meter.reestimated['base'].images == 0 and meter.distilled.images > 0
