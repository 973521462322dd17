"""Runs that are stopped at a point of a batch, and the comparison of a resumed run with an uninterrupted one."""

import json
import shutil
from pathlib import Path

import torch
from mmengine.hooks import Hook

from motivation.engine.runner import DualModelRunner
from motivation.hooks import MotivationHook
from motivation.utils.checkpoint import find_checkpoints, read_checkpoint
from tests.conftest import tiny_config

# Dropout and stochastic depth draw random numbers, as does augmentation.
RANDOM = {'model.base.drop_path_rate': 0.2, 'model.motivated.drop_path_rate': 0.2, 'model.motivated.drop_rate': 0.1}


def config(folder, resume=False, every_iters=1, epochs=3, **options):
    """Return the config of epochs of six batches, validated, that resumes from the newest checkpoint if there is to."""
    built = tiny_config(folder, epochs, **{'default_hooks.checkpoint.every_iters': every_iters, **RANDOM, **options})
    if resume:
        built.resume, built.load_from = True, str(find_checkpoints(folder)[-1])
    return built


class At(Hook):
    """Calls an action once, at a hook point of a batch."""

    priority = 'LOWEST'

    def __init__(self, point, batch, action):
        self.batch, self.action, self.done = batch, action, False
        setattr(self, point, self.act)

    def act(self, runner, batch_idx=0, **_):
        if not self.done and runner.iter == self.batch:
            self.done = True
            self.action()


class StopError(Exception):
    pass


def stop():
    raise StopError


def copying(folder, copy):
    """Return an action that copies what a run killed there would leave."""
    return lambda: shutil.copytree(folder, copy)


def train(built, *hooks):
    runner = DualModelRunner.from_cfg(built)
    for hook in hooks:
        runner.register_hook(hook)
    runner.train()
    return runner


def outcome(runner):
    """Return all results of a run except times."""
    report = json.loads((Path(runner.work_dir) / 'report.json').read_text())
    report.pop('wall_seconds')
    for name in ('base', 'motivated'):
        for field in ('seconds', 'images_per_second', 'flops_per_second'):
            assert report[name].pop(field, 1) > 0
    trace = runner.find_hook(MotivationHook).trace
    last = read_checkpoint(Path(runner.work_dir) / 'epoch_3.pth')
    return (
        report,
        list(trace.losses),
        list(trace.decisions),
        list(trace.motivated),
        last['policy'],
        last['param_schedulers'],
    )


def assert_same(resumed, whole):
    assert outcome(resumed) == outcome(whole)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    saved = [read_checkpoint(Path(run.work_dir) / 'epoch_3.pth')['optimizer'] for run in (resumed, whole)]
    current = [
        {name: wrapper.optimizer.state_dict() for name, wrapper in run.optim_wrapper.items()}
        for run in (resumed, whole)
    ]
    for states in (saved, current):
        for name in ('base', 'motivated'):
            ours, theirs = (state[name]['state'] for state in states)
            assert ours.keys() == theirs.keys()
            for index, entry in ours.items():
                for key, value in entry.items():
                    assert torch.equal(torch.as_tensor(value), torch.as_tensor(theirs[index][key])), (name, index, key)
