"""Training with two real processes, compared with one."""

import json
from pathlib import Path

import pytest
import torch
import torch.distributed.run

from motivation.cli import prepare_training
from motivation.errors import ConfigError
from motivation.policies.switch_trace import SwitchTrace
from motivation.registry import RUNNERS
from motivation.utils.checkpoint import read_checkpoint
from motivation.utils.distributed import decide_once, join_processes, sum_over_processes
from tests.conftest import ROOT
from tests.engine.forked_processes import two_forks
from tests.engine.test_plugins import PLUGIN, PLUGIN_CONFIG
from tests.forked import run_forked


def torchrun(*command):
    """Start a script as two processes; that which starts them is a fork."""
    return run_forked(torch.distributed.run.__file__, '--standalone', '--nproc-per-node', '2', *command)[0]


AGREE = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import torch
from motivation.utils.distributed import *
from motivation.engine.parallel import train_together
from motivation.errors import ConfigError
join_processes()
rank = torch.distributed.get_rank()
norm = torch.nn.BatchNorm1d(2)
norm.running_mean += rank + 1
share_buffers(norm)
try:
    def refuse():
        raise ConfigError(f'decided by {{rank}}')
    decide_once(refuse)
except ConfigError as error:
    refused = str(error)
result = [decide_once(lambda: rank), sum_over_processes(10 + rank), refused]
result.append(norm.running_mean.tolist())

from motivation.engine.optim.optim_wrapper import DualOptimWrapperConstructor
from motivation.engine.parallel import train_together
from tests.conftest import small_batch, small_dual_model

def train(compiled=False, **fields):
    model = small_dual_model()
    if compiled:
        model.compile(backend='eager')
    for name in ('base', 'motivated'):
        getattr(model, name).unused = torch.nn.Parameter(torch.ones(1))
    optim_wrapper = DualOptimWrapperConstructor(dict(optimizer=dict(type='SGD', lr=0.1)))(model)
    train_together(model, fields)
    for step in range(4):
        model.train_step(small_batch(seed=2 * step + rank), optim_wrapper)
        (model.activate, model.deactivate)[step % 2]()
    return model.motivated.backbone.fc.weight.double().sum().item()

def refusal(**fields):
    try:
        return train(**fields)
    except (ConfigError, RuntimeError) as error:
        return str(error).strip().split('\\n')[0]

sums = [train(find_unused_parameters=True), train(model_wrapper_cfg=dict(find_unused_parameters=True)),
    train(compiled=True, find_unused_parameters=True)]
refusals = [refusal(), refusal(sync_bn='torch')]
open(f'{{sys.argv[1]}}/{{rank}}.json', 'w').write(__import__('json').dumps([result, sums, refusals]))
"""


@pytest.fixture(scope='module')
def said(tmp_path_factory):
    """Return the results of each of two processes."""
    folder = tmp_path_factory.mktemp('two')
    (folder / 'agree.py').write_text(AGREE)
    two_forks(folder / 'agree.py', folder)
    return [json.loads((folder / f'{rank}.json').read_text()) for rank in '01']


def test_processes_agree(said):
    for agreed, _, _ in said:
        assert agreed == [0, 21, 'decided by 0', [1.0, 1.0]]


def test_unused_parameters_can_be_found(said):
    """Both fields work, with equal weights in all processes; without them DDP recommends the option."""
    first, second = (sums for _, sums, _ in said)
    assert first == second and first[0] == first[1]
    assert all('Expected to have finished reduction' in refusals[0] for _, _, refusals in said)


def test_compiled_models_train_together(said):
    for _, sums, _ in said:
        assert sums[2] == pytest.approx(sums[0], abs=1e-5)


def test_sync_bn_raises_on_the_cpu(said):
    for _, _, refusals in said:
        assert refusals[1].startswith("sync_bn is 'torch', which torch has for GPUs alone, and these 2 processes train")


def test_single_process_needs_no_collective(monkeypatch):
    monkeypatch.delenv('WORLD_SIZE', raising=False)
    join_processes()
    assert not torch.distributed.is_initialized()
    assert decide_once(lambda: 3) == sum_over_processes(3) == 3


def test_more_processes_than_gpus_raise(monkeypatch):
    for name, value in (('WORLD_SIZE', '4'), ('LOCAL_RANK', '2'), ('LOCAL_WORLD_SIZE', '4')):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    with pytest.raises(ConfigError, match='torchrun --nproc-per-node must be at most 2, the number of GPUs, got 4'):
        join_processes()


def test_two_processes_train_like_one_on_the_same_batches(tmp_path):
    """Losses, decisions, weights, compute and accuracy are equal; resuming with another number of processes raises."""
    (tmp_path / 'my_plugin.py').write_text(PLUGIN)
    # No augmentation, whose random numbers differ between processes.
    together = PLUGIN_CONFIG.replace("type='EveryThird'", "type='ConsecutiveDrop', drops=1")
    together += 'train_dataloader = dict(batch_size={}, num_batch_per_epoch=10, dataset=dict(transforms=[]))\n'
    (tmp_path / 'one.py').write_text(together.format(64))
    (tmp_path / 'two.py').write_text(together.format(32))
    done = torchrun(ROOT / 'tools/train.py', 'two.py')
    assert done.returncode == 0, done.stderr
    assert '1 epoch of 10 batches of 2 x 32' in done.stdout and done.stdout.count('written: report.json') == 1
    RUNNERS.build(prepare_training('one.py')).train()

    folders = [Path('work_dirs/one'), Path('work_dirs/two')]
    one, two = (SwitchTrace.load(folder) for folder in folders)
    assert list(two.losses) == pytest.approx(list(one.losses), rel=1e-5)
    assert two.decisions == one.decisions and 0 < two.decisions.count(1) < 10
    one, two = (json.loads((folder / 'report.json').read_text()) for folder in folders)
    for name in ('base', 'motivated'):
        for field in ('iters', 'images', 'train_flops', 'evaluation_flops', 'metrics'):
            assert one[name][field] == two[name][field], (name, field)
    assert one['saving'] == two['saving']
    one, two = (read_checkpoint(folder / 'epoch_1.pth')['state_dict'] for folder in folders)
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, two[name], rtol=1e-4, atol=1e-6)
    with pytest.raises(ConfigError, match=r"processes is 1, and was 2 in '.*epoch_1\.pth'"):
        RUNNERS.build(prepare_training('two.py', resume='latest')).train()
