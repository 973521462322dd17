"""The loss on fixed training images, compared with one computed by hand on a copy of the base model."""

import copy

import pytest
import torch
from mmengine.hooks import Hook
from torch.nn import functional as F

from motivation.engine.held_in_loss import HeldInLoss
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.hooks import ComputeMeterHook
from motivation.policies import SwitchPolicy
from motivation.registry import POLICIES
from tests.conftest import snapshot, tiny_config, train
from tests.small import BARE, few_digits

PLAIN = {**BARE, 'train_dataloader.dataset.transforms': []}


@POLICIES.register_module(force=True)
class RecordsHeldIn(SwitchPolicy):
    """Switches after every third batch, and records the loss on the held-in images."""

    def __init__(self):
        self.seen = []

    @property
    def signal_options(self):
        return {'held_in_loss': {'every': 2, 'images': 30}}

    def update(self, loss, held_in_loss):
        self.seen.append(held_in_loss)
        return len(self.seen) // 3 % 2 == 1


@POLICIES.register_module(force=True)
class Switches(SwitchPolicy):
    """Switches like RecordsHeldIn, and asks for nothing."""

    def __init__(self):
        self.batches = 0

    def update(self, loss):
        self.batches += 1
        return self.batches // 3 % 2 == 1


class Witness(Hook):
    """Finds the held-in images in the training set, and their loss of a copy of the base model before each batch."""

    def __init__(self):
        self.losses = []

    def before_train(self, runner):
        data = [runner.train_dataloader.dataset[index] for index in range(96)]
        images, targets = torch.stack([item['inputs'] for item in data]), torch.tensor([i['targets'] for i in data])
        prepared = runner.model.base.data_preprocessor({'inputs': images})['inputs']
        held_in = HeldInLoss(runner, images=30)._inputs['inputs']
        places = [next(place for place in range(96) if torch.equal(prepared[place], image)) for image in held_in]
        assert len(set(places)) == 30
        self.images, self.targets = prepared[places], targets[places]

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.both = copy.deepcopy(runner.model)
        self.both.transfer()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Take the statistics from after the forward pass, which comes before the measurement."""
        base = self.both.base.eval()
        for buffer, value in zip(base.buffers(), runner.model.base.buffers(), strict=True):
            buffer.copy_(value)
        with torch.no_grad():
            self.losses.append(float(F.cross_entropy(base(self.images), self.targets)))


def run(folder, policy, *hooks, **options):
    runner = DualModelRunner.from_cfg(
        tiny_config(
            folder, 2, **{'motivation.policy': dict(_delete_=True, type=policy), **PLAIN, **few_digits(96), **options}
        )
    )
    for hook in hooks:
        runner.register_hook(hook)
    runner.train()
    return runner


def policy_of(runner):
    return runner.model.motivation.policy


@pytest.mark.parametrize(
    'options',
    [{}, {'model.base.mixup': dict(mixup_alpha=0.2), 'model.motivated.mixup': dict(mixup_alpha=0.2)}],
    ids=['plain', 'mixup'],
)
def test_loss_is_that_of_the_current_base_model_in_evaluation_mode(tmp_path, options):
    """Also while the motivated model is active, whose weights the base model then has."""
    witness = Witness()
    runner = run(tmp_path / 'run', 'RecordsHeldIn', witness, **options)
    expected = [loss if batch % 2 == 0 else None for batch, loss in enumerate(witness.losses, 1)]
    assert [loss is None for loss in policy_of(runner).seen] == [loss is None for loss in expected]
    assert policy_of(runner).seen[1::2] == pytest.approx(expected[1::2], rel=1e-5)


def test_measuring_leaves_training_as_it_is_and_is_counted(tmp_path):
    """Six measurements of 30 images each, and what is left is known in advance."""
    meter = {'default_hooks.compute_meter': dict(type='ComputeMeterHook')}
    random = {'train_dataloader.dataset.transforms': [dict(type='RandomCrop', size=8, padding=1)]}
    options = {**meter, **random, 'model.base.drop_path_rate': 0.2}
    asking = run(tmp_path / 'asking', 'RecordsHeldIn', **options)
    plain = run(tmp_path / 'plain', 'Switches', **options)
    tensors = snapshot(plain.model)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in snapshot(asking.model).items())
    meters = [runner.find_hook(ComputeMeterHook).meter for runner in (asking, plain)]
    further = 6 * meters[1].macs['base'].inference.flops(1, 30)
    assert meters[0].total_train_flops - meters[1].total_train_flops == further > 0
    assert meters[0].forward_flops('base') - meters[1].forward_flops('base') == further
    assert meters[0].held_in.iters == 6 and meters[1].held_in.iters == 0


def test_forecast_reserves_the_measurements_to_come(tmp_path):
    meter = {'default_hooks.compute_meter': dict(type='ComputeMeterHook')}
    budget = dict(type='Budget', min_saving=1.2, policy=dict(type='HeldInDrop', drops=1, every=3, images=48))
    runner = train(
        tiny_config(tmp_path / 'run', 2, **{'motivation.policy': dict(_delete_=True, **budget)}, **BARE, **meter)
    )
    meter = runner.find_hook(ComputeMeterHook).meter
    assert meter.trained['motivated'].iters > 0 and meter.held_in.iters == 4
    assert meter.total_train_flops <= meter.motivated_alone_train_flops / 1.2


def test_more_images_than_there_are_is_refused(tmp_path):
    policy = dict(_delete_=True, type='HeldInDrop', images=97)
    with pytest.raises(ConfigError, match=r"measures 'held_in_loss' on 97 images, and there are 96 training images"):
        train(tiny_config(tmp_path / 'run', 1, **{'motivation.policy': policy, **few_digits(96)}))
