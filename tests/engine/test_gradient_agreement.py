"""The cosine of successive gradients, compared with one computed from each parameter's gradient by hand."""

import pytest
import torch
from mmengine.hooks import Hook

from motivation.engine.runner import DualModelRunner
from motivation.policies import SwitchPolicy
from motivation.registry import POLICIES
from motivation.weight_maps.index import mesh
from tests.conftest import tiny_config
from tests.small import BARE, SMALL_PAIR


@POLICIES.register_module(force=True)
class RecordsAgreement(SwitchPolicy):
    """Alternates in pairs of batches, and records the agreement."""

    def __init__(self):
        self.seen = []

    def update(self, loss, grad_agreement):
        self.seen.append(grad_agreement)
        return len(self.seen) // 2 % 2 == 1


class Witness(Hook):
    """Keeps the gradients of the first step on each batch, and computes their cosine in double precision."""

    def __init__(self):
        self.agreements, self.last = [], None

    def before_train(self, runner):
        for name in ('base', 'motivated'):
            for path, parameter in getattr(runner.model, name).named_parameters():
                parameter.register_post_accumulate_grad_hook(
                    lambda tensor, key=(name, path): self.gradients.__setitem__(key, tensor.grad.double().clone())
                )

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.gradients = {}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        active, parts = 'motivated' if outputs['motivated'] else 'base', []
        for pair in runner.model.weight_map.pairs:
            gradient = self.gradients.get((active, getattr(pair, active)))
            if gradient is not None:
                image = active == 'motivated'
                parts.append((gradient[mesh(pair.index, gradient.shape)] if image else gradient).flatten())
        now = torch.cat(parts)
        if self.last is not None:
            self.agreements.append(float(torch.nn.functional.cosine_similarity(now, self.last, dim=0)))
        self.last = now


@pytest.mark.parametrize(
    'options',
    [
        {},
        {**SMALL_PAIR, 'model.weight_map': dict(_delete_=True, type='AutoMap'), 'optim_wrapper.accumulate': 2},
        {'model.distillation': dict(weight=0.5), 'optim_wrapper.clip_grad': dict(max_norm=1e-3)},
    ],
    ids=['depth', 'width-micro-batches', 'distilled-clipped'],
)
def test_agreement_is_the_cosine_over_shared_parameters_of_either_model(tmp_path, options):
    policy = {**BARE, 'motivation.policy': dict(_delete_=True, type='RecordsAgreement')}
    runner = DualModelRunner.from_cfg(tiny_config(tmp_path / 'run', 1, **policy, **options))
    witness = Witness()
    runner.register_hook(witness)
    runner.train()
    first, *seen = runner.model.motivation.policy.seen
    assert first is None and seen == pytest.approx(witness.agreements, abs=1e-5)
    assert len(seen) == 5 and all(-1 < value < 1 and abs(value) > 1e-4 for value in seen)
    kept = runner.checkpointer.parts['grad_agreement'].state_dict()['gradient']
    assert len(kept) == sum(parameter.numel() for parameter in runner.model.base.parameters())
