"""Components of a user's own package, beside the config or installed, are found and train."""

import json

from motivation.cli import prepare_training
from motivation.hooks import MotivationHook
from tests.conftest import DIGITS, train
from tests.tools.call import call_forked

PLUGIN = """
from torch import nn
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from motivation.policies import SwitchPolicy
from motivation.registry import DATASETS, HOOKS, MODELS, POLICIES, WEIGHT_MAPS
from motivation.weight_maps import WeightMap

@POLICIES.register_module()
class EveryThird(SwitchPolicy):
    def __init__(self):
        self.batches = 0

    def update(self, loss):
        self.batches += 1
        return self.batches % 3 == 0

    def state_dict(self):
        return {'batches': self.batches}

@WEIGHT_MAPS.register_module()
def first_layer_only(base, motivated):
    return WeightMap(base, motivated, [(name, name) for name in base.state_dict()])

@MODELS.register_module()
class Perceptron(BaseModel):
    def __init__(self, layers):
        super().__init__(data_preprocessor=dict(type='ImagePreprocessor', mean=[0.5], std=[0.5]))
        self.first = nn.Linear(64, 10)
        if layers == 2:
            self.second = nn.Linear(10, 10)
        self.layers = layers

    def forward(self, inputs, targets=None, mode='tensor'):
        logits = self.first(inputs.flatten(1))
        if self.layers == 2:
            logits = logits + self.second(logits.relu())
        if mode == 'loss':
            return {'loss': nn.functional.cross_entropy(logits, targets)}
        if mode == 'predict':
            return [{'logits': row, 'target': target} for row, target in zip(logits, targets)]
        return logits

@HOOKS.register_module()
class Notebook(Hook):
    def after_train(self, runner):
        with open('notebook.txt', 'w') as file:
            file.write(f'{runner.iter} batches')
"""

PLUGIN_CONFIG = f"""
_base_ = {DIGITS!r}
custom_imports = dict(imports=['my_plugin'])
model = dict(
    base=dict(_delete_=True, type='Perceptron', layers=1),
    motivated=dict(_delete_=True, type='Perceptron', layers=2),
    weight_map=dict(_delete_=True, type='first_layer_only'))
motivation = dict(policy=dict(_delete_=True, type='EveryThird'))
custom_hooks = [dict(type='Notebook')]
train_cfg = dict(max_epochs=1)
"""


def test_plugin_in_a_folder_registers_policy_map_model_and_hook(tmp_path):
    (tmp_path / 'my_plugin.py').write_text(PLUGIN)
    (tmp_path / 'mine.py').write_text(PLUGIN_CONFIG)
    done = call_forked('train.py', 'mine.py', '--work-dir', 'run')
    assert done.returncode == 0, done.stderr
    assert done.stderr == ''
    report = json.loads((tmp_path / 'run/report.json').read_text())
    assert report['motivated']['iters'] == 7  # batches 4, 7, 10, ... of 23
    assert report['base']['params'] == 650 and report['motivated']['params'] == 760
    assert report['policy'] == 'EveryThird()'
    assert (tmp_path / 'notebook.txt').read_text() == '23 batches'
    assert (tmp_path / 'run/base.pth').exists()


def test_installed_package_registers_through_its_entry_point(tmp_path, monkeypatch):
    package = tmp_path / 'site'
    (package / 'their_plugin-1.0.dist-info').mkdir(parents=True)
    (package / 'their_plugin-1.0.dist-info/METADATA').write_text(
        'Metadata-Version: 2.1\nName: their-plugin\nVersion: 1.0\n'
    )
    (package / 'their_plugin-1.0.dist-info/entry_points.txt').write_text(
        '[motivation.plugins]\ntheirs = their_plugin\n'
    )
    (package / 'their_plugin.py').write_text(
        'from motivation.policies import Always\nfrom motivation.registry import POLICIES\n'
        'POLICIES.register_module(name="TheirPolicy", module=type("TheirPolicy", (Always,), {}), force=True)\n'
    )
    monkeypatch.syspath_prepend(str(package))
    config = prepare_training(
        DIGITS,
        str(tmp_path / 'run'),
        options={
            'motivation.policy': dict(_delete_=True, type='TheirPolicy'),
            'train_cfg.max_epochs': 1,
            'train_dataloader.num_batch_per_epoch': 3,
        },
    )
    assert list(train(config).find_hook(MotivationHook).trace.motivated) == [0, 1, 1]
