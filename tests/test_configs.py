"""Every shipped config builds and takes a step of each model."""

import ast
from pathlib import Path

import pytest
import torch

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
    channels = model.base.input_size[0]
    batch = {'inputs': torch.randint(0, 256, (4, channels, 32, 32), dtype=torch.uint8), 'targets': torch.arange(4)}
    for expected in (0.0, 1.0):
        outputs = model.train_step(batch, wrappers)
        assert outputs['motivated'] == expected and outputs['loss'].isfinite()
        model.activate()


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: str(path.relative_to(ROOT / 'configs')))
def test_leaf_config_is_short(path):
    lines = [line for line in Path(path).read_text().splitlines() if line.strip()]
    assert len(lines) <= 15
    assert ast.parse(Path(path).read_text()).body
