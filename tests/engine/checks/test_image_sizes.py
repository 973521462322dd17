"""Training in parts with image sizes of their own."""

import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from torch.utils.data import DataLoader

from motivation.cli import prepare_check
from motivation.compute.macs import measure_model
from motivation.datasets.loading import collate_images
from motivation.engine.checks.image_sizes import check_image_sizes
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.hooks.compute_meter_hook import find_meter
from motivation.hooks.progress_hook import describe_run
from motivation.policies import SwitchPolicy
from motivation.registry import MODELS, POLICIES
from motivation.utils.training_parts import TrainingParts, resized
from tests.conftest import DIGITS, classifier, snapshot, tiny_config, train
from tests.engine.test_resuming import Stop

PARTS = [dict(share=0.25, image_size=[4, 6]), dict(share=0.75)]
SIZES = [(4, 6)] * 3 + [(8, 8)] * 9  # of twelve batches in two epochs


@POLICIES.register_module(force=True)
class ThirdsByCompute(SwitchPolicy):
    """Every third batch is motivated; keeps the forecasts of compute."""

    def __init__(self):
        self.seen = []

    def update(self, loss, iter, compute):
        self.seen.append(compute)
        return iter % 3 == 0

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class Sizes(Hook):
    """Keeps the image sizes of every training and validation batch."""

    def __init__(self):
        self.trained, self.validated = [], set()

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.trained.append(tuple(data_batch['inputs'].shape[2:]))

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        self.validated.add(tuple(data_batch['inputs'].shape[2:]))


def in_parts(work_dir, **options):
    policy = dict(_delete_=True, type='ThirdsByCompute')
    return tiny_config(work_dir, meter=True, **{'train_cfg.parts': PARTS, 'motivation.policy': policy, **options})


def run(config):
    runner, sizes = DualModelRunner.from_cfg(config), Sizes()
    runner.register_hook(sizes)
    runner.train()
    return runner, sizes


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    return run(in_parts(tmp_path_factory.mktemp('whole') / 'run'))


def test_training_images_have_the_size_of_their_part_and_validation_is_at_full_size(whole):
    runner, sizes = whole
    assert sizes.trained == SIZES and sizes.validated == {(8, 8)}
    assert '  parts      25% at 4 x 6, then 75% at full size' in describe_run(runner)


def test_resumed_run_goes_on_within_its_part(whole, tmp_path):
    options = {'default_hooks.checkpoint.every_iters': 2}
    stopped = DualModelRunner.from_cfg(in_parts(tmp_path / 'run', **options))
    stopped.register_hook(Stop(3))
    with pytest.raises(InterruptedError):
        stopped.train()
    config = in_parts(tmp_path / 'run', **options)
    config.resume = True
    resumed, sizes = run(config)
    assert sizes.trained == SIZES[2:]
    expected = snapshot(whole[0].model)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in snapshot(resumed.model).items())
    assert find_meter(resumed).total_train_flops == find_meter(whole[0]).total_train_flops


@pytest.fixture(scope='module')
def flops(whole):
    """FLOPs of a batch of 16 images by model, in the order of the run."""
    runner = whole[0]
    sample = {'inputs': torch.zeros(1, 1, 8, 8, dtype=torch.uint8), 'targets': torch.zeros(1, dtype=torch.long)}
    by_size = {
        size: {
            name: measure_model(getattr(runner.model, name), resized(sample, size)).step
            for name in ('base', 'motivated')
        }
        for size in set(SIZES)
    }
    return [{name: step.flops(1, 16) for name, step in by_size[size].items()} for size in SIZES]


def test_compute_is_counted_and_foreseen_by_size(whole, flops):
    runner = whole[0]
    active = ['base' if batch % 3 else 'motivated' for batch in range(12)]
    active[0] = 'base'
    meter = find_meter(runner)
    for name in ('base', 'motivated'):
        assert meter.train_flops(name) == sum(cost[name] for cost, on in zip(flops, active, strict=True) if on == name)
    assert meter.motivated_alone_train_flops == sum(cost['motivated'] for cost in flops)
    for done, compute in enumerate(runner.model.motivation.policy.seen, 1):
        for name in ('base', 'motivated'):
            assert compute.left[name] == sum(cost[name] for cost in flops[done:])
        assert compute.motivated_alone == meter.motivated_alone_train_flops
        assert compute.batch == (flops[-1] if done < 12 else compute.batch)


def test_statistics_are_reestimated_at_full_size_and_counted_so(whole, flops):
    meter = copy.deepcopy(find_meter(whole[0]))
    meter.macs = {name: macs._replace(inference=None) for name, macs in meter.macs.items()}
    meter.add_reestimation('base', 1, 16)
    assert meter.reestimation_flops('base') == meter.evaluation_flops('base') / 4  # two validations of 32 images


def test_images_on_the_device_are_resized_alike(whole, tmp_path):
    kept = {f'{stage}_dataloader.type': 'DeviceDataLoader' for stage in ('train', 'val')}
    plain = {
        'train_dataloader.dataset.transforms': [],
        'default_hooks.compute_meter': None,
        'motivation.policy.type': 'Never',
    }
    runs = [run(tiny_config(tmp_path / name, **{'train_cfg.parts': PARTS, **plain, **options}))
            for name, options in (('kept', kept), ('plain', {}))]  # fmt: skip
    assert runs[0][1].trained == SIZES
    expected = snapshot(runs[1][0].model)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in snapshot(runs[0][0].model).items())


def test_check_trains_at_every_size(tmp_path, capsys):
    options = {'train_cfg.parts': PARTS, 'model.weight_map.type': 'DepthMap', 'default_hooks.compute_meter': None}
    train(prepare_check(DIGITS, options))
    said = capsys.readouterr().out
    for name in ('base', 'motivated'):
        assert f'{name} trained on a batch of 64 images of 4 x 6 pixels: loss' in said
        assert f'{name} trained on a batch of 64 images: loss' in said


def checked(parts, **vit):
    models = {name: MODELS.build(classifier('test_vit', img_size=32, **vit)) for name in ('base', 'motivated')}
    images = [{'inputs': torch.zeros(3, 32, 32, dtype=torch.uint8), 'targets': 1}] * 4
    runner = SimpleNamespace(model=SimpleNamespace(**models))
    with torch.no_grad():
        check_image_sizes(runner, TrainingParts(parts), DataLoader(images, 2, collate_fn=collate_images), 100)


def test_network_of_one_size_is_refused_before_training():
    message = (
        r'^train_cfg\.parts\.0\.image_size is 16 x 16, and model\.base cannot be trained on images of that size: .*'
    )
    parts = [dict(share=0.5, image_size=16), dict(share=0.5)]
    with pytest.raises(ConfigError, match=message + r'a ViT with dynamic_img_size=True\), or another image_size$'):
        checked(parts, dynamic_img_size=False)
    checked(parts, dynamic_img_size=True)


def test_size_above_that_of_the_data_is_refused():
    with pytest.raises(
        ConfigError, match=r'image_size is 64 x 64, and the images of .* are 32 x 32: give at most that$'
    ):
        checked([dict(share=1.0, image_size=64)])


def test_part_without_a_batch_is_refused():
    parts = [dict(share=0.5, image_size=16), dict(share=0.004, image_size=24), dict(share=0.496)]
    message = r'^train_cfg\.parts\.1\.share is 0\.004, less than a batch of the 100 of the run: raise it, or leave'
    with pytest.raises(ConfigError, match=message):
        checked(parts, dynamic_img_size=True)


def test_parts_are_refused_with_their_field(tmp_path):
    config = tiny_config(tmp_path / 'run', **{'train_cfg.parts': [dict(share=0.5, image_size=4)]})
    with pytest.raises(ConfigError, match=r'^train_cfg\.parts have shares that add up to 0\.5; make it 1$'):
        train(config)
