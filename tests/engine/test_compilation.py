"""The config's ``compile``, with backends that only count graphs."""

import shutil

import pytest
import torch
import torch._dynamo
from torch._dynamo.utils import counters

from motivation.cli import prepare_check
from motivation.engine.runner import DualModelRunner
from motivation.errors import ConfigError
from motivation.policies import SwitchPolicy
from motivation.registry import POLICIES
from motivation.utils.checkpoint import read_checkpoint
from tests.conftest import DIGITS, digits_config, tiny_config, train
from tests.small import SMALL_PAIR

GRAPHS = []


@torch._dynamo.register_backend(name='counting')
def counting(graph, inputs):
    GRAPHS.append(graph)
    return graph.forward


@torch._dynamo.register_backend(name='failing')
def failing(graph, inputs):
    raise RuntimeError('there is no compiler')


@POLICIES.register_module(force=True)
class EverySecondByAccuracy(SwitchPolicy):
    """Asks for the accuracy, which is measured in the compiled forward pass."""

    def __init__(self):
        self.accuracies = []

    def update(self, loss, accuracy):
        self.accuracies.append(accuracy)
        return len(self.accuracies) % 2 == 1

    def state_dict(self):
        return {'accuracies': self.accuracies}


def test_compiled_run_resumes_an_uncompiled_one(tmp_path):
    """Losses, weights and names are equal; one graph per model, without breaks, and none for evaluation."""
    options = {
        'meter': True,
        'motivation.policy': dict(_delete_=True, type='EverySecondByAccuracy'),
        'train_dataloader.num_batch_per_epoch': 4,
        'model.recalibrate': 32,
        **SMALL_PAIR,
    }
    plain = train(tiny_config(tmp_path / 'plain', **options))
    (tmp_path / 'compiled').mkdir()
    shutil.copy(tmp_path / 'plain/epoch_1.pth', tmp_path / 'compiled')
    config = tiny_config(tmp_path / 'compiled', **options)
    config.resume, config.compile = True, dict(backend='counting')
    counters.clear()
    GRAPHS.clear()
    compiled = train(config)
    assert len(GRAPHS) == 2 and not counters['graph_break']
    states = [read_checkpoint(tmp_path / folder / 'epoch_2.pth') for folder in ('plain', 'compiled')]
    assert states[0]['state_dict'].keys() == states[1]['state_dict'].keys() == plain.model.state_dict().keys()
    for name, tensor in states[0]['state_dict'].items():
        torch.testing.assert_close(tensor, states[1]['state_dict'][name], rtol=1e-4, atol=1e-6)
    assert (
        states[0]['compute_meter']['totals']['base']['forward_flops']
        == (states[1]['compute_meter']['totals']['base']['forward_flops'])
    )
    assert states[0]['policy'] == states[1]['policy']  # accuracies of every batch
    assert compiled.model.base._compiled_call_impl is not None


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        (dict(backend='nonsense'), "^compile is {'backend': 'nonsense'}, and torch.compile fails: .*; leave it out"),
        (dict(mode='foo'), '^compile is .*fails: .*Unrecognized mode=foo.*; leave it out'),
        (dict(backend='failing'), '^compile is .*fails: .*there is no compiler.*; leave it out'),
    ],
)
def test_check_reports_what_does_not_compile(value, message):
    with pytest.raises(ConfigError, match=message) as caught:
        DualModelRunner.from_cfg(prepare_check(DIGITS, {'compile': value, **SMALL_PAIR})).train()
    assert '\n' not in str(caught.value)


def test_compilation_can_be_left_out(tmp_path):
    config = tiny_config(tmp_path, epochs=1, **{'train_dataloader.num_batch_per_epoch': 1})
    config.compile = False
    assert train(config).model.base._compiled_call_impl is None


def test_batches_of_other_sizes_do_not_compile_again_and_again(tmp_path, capsys):
    """One graph per model for the first size and one for all others: micro-batches, last batches, two epochs."""
    counters.clear()
    GRAPHS.clear()
    options = {
        'train_dataloader.num_batch_per_epoch': None,
        'train_dataloader.batch_size': 500,  # micro-batches of 167 and 166, of the last batch 146 and 145
        'optim_wrapper.accumulate': 3,
        'motivation.policy': dict(_delete_=True, type='Periodic', on=1, off=1),
        'compile': dict(backend='counting'),
    }
    train(digits_config(tmp_path / 'run', 2, **options))
    assert len(GRAPHS) <= 2 * 2 and not counters['graph_break']
    said = capsys.readouterr().out  # before a first batch that takes long
    assert [said.count(f'compiling the {name} model') for name in ('base', 'motivated')] == [1, 1]
