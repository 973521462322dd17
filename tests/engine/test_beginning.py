"""Several processes begin a run from a pretrained motivated model with the same statistics."""

from pathlib import Path

import timm
import torch

from tests.conftest import ROOT
from tests.engine.forked_processes import two_forks

BEGIN = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import torch
from motivation.engine.runner import DualModelRunner
from motivation.utils.distributed import join_processes
from tests.conftest import Begun
from tests.small import BARE, few_digits, small_config

join_processes()
options = {{'model.motivated.checkpoint_path': 'motivated.pth', 'model.weight_map.channels': 'spread'}}
few = few_digits(64) | {{'train_dataloader.batch_size': 32, 'train_dataloader.num_batch_per_epoch': None}}
runner = DualModelRunner.from_cfg(small_config('run', **BARE, **options, **few))
runner.register_hook(begun := Begun())
runner.train()
torch.save((begun.weights, runner.model.pretraining.reestimated), f'rank{{runner.rank}}.pt')
"""


def test_two_processes_begin_with_the_same_base_model_cut_out():
    torch.manual_seed(3)
    source = timm.create_model('cifar_resnet8', num_classes=10, in_chans=1, width=2).state_dict()
    torch.save(source, 'motivated.pth')
    Path('begin.py').write_text(BEGIN)
    two_forks('begin.py')
    (ours, images), (theirs, _) = (torch.load(f'rank{rank}.pt', weights_only=True) for rank in (0, 1))
    assert images == 64 and ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items() if isinstance(value, torch.Tensor))
    assert torch.equal(ours['base.backbone.conv1.weight'], source['conv1.weight'][::2])
    assert ours['base.backbone.bn1.running_mean'].abs().min() > 0  # of an untrained network they are zero
