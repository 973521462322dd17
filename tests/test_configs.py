"""Every shipped config builds and takes a step of each model."""

import ast
import re
from pathlib import Path

import pytest
import torch

from motivation.comparison.arm_config import configure
from motivation.comparison.compare import Comparison
from motivation.config.checks import check_config
from motivation.config.read import load_config
from motivation.engine.runner import DualModelRunner
from tests.conftest import ROOT

CONFIGS = sorted(path for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: str(path.relative_to(ROOT / 'configs')))
def test_config_builds_and_both_models_take_a_step(path, tmp_path):
    config = load_config(str(path))
    check_config(config)
    config.work_dir = str(tmp_path)
    runner = DualModelRunner.from_cfg(config)
    model = runner.model.train()
    wrappers = runner.build_optim_wrapper(runner.optim_wrapper)
    images = torch.randint(0, 256, (2, *model.base.input_size), dtype=torch.uint8)
    batch = {'inputs': images, 'targets': torch.arange(2)}
    for expected in (0.0, 1.0):
        outputs = model.train_step(batch, wrappers)
        assert outputs['motivated'] == expected and outputs['loss'].isfinite()
        model.activate()


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: str(path.relative_to(ROOT / 'configs')))
def test_leaf_config_is_short(path):
    lines = [line for line in Path(path).read_text().splitlines() if line.strip()]
    assert len(lines) <= 15
    assert ast.parse(Path(path).read_text()).body


@pytest.mark.parametrize('name', re.findall(r'^STUDY := (.*)$', (ROOT / 'Makefile').read_text(), re.M)[0].split())
def test_every_arm_of_a_study_is_valid_and_costs_what_it_is_compared_at(name):
    """The equal-FLOPs arms have as many epochs as one batch in six of the motivated model allows."""
    study = Comparison(str(ROOT / f'configs/evidence/{name}.py'), Path('work'))
    assert sorted({job.seed for job in study.jobs}) == [0, 1, 2, 3, 4]
    assert [arm.policy for arm in study.arms].count('Never') == [arm.policy for arm in study.arms].count('Always') == 3
    by_label = {arm.label: configure(arm, study.config, 0, None) for arm in study.arms}
    recipe, letter = by_label['config'], next(config for label, config in by_label.items() if label.endswith('.py'))
    assert recipe.model.distillation == {'weight': 0.5} and letter.model.distillation is None
    assert letter.motivation.policy == dict(type='ConsecutiveDrop', drops=2)
    schedules = [config.param_scheduler[-1].type for config in (recipe, letter)]
    assert schedules == ['LinearLR', 'CosineAnnealingLR']
    epochs = {label: config.train_cfg.max_epochs for label, config in by_label.items() if 'max_epochs' in label}
    share = [count / recipe.train_cfg.max_epochs for count in epochs.values()]
    base, motivated = (122.0, 376.8) if 'resnet' in name else (147.0, 552.8)  # MMACs an image, tools/get_flops.py
    assert share == pytest.approx([1 + motivated / base / 6, base / motivated + 1 / 6], rel=0.02)
