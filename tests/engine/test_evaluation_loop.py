import pytest
import torch
from mmengine.runner import Runner

from motivation.engine.runner import DualModelRunner
from tests.conftest import digits_config


def accuracy_by_hand(model, dataset):
    images = torch.stack([dataset[i]['inputs'] for i in range(len(dataset))])
    targets = torch.tensor([dataset[i]['targets'] for i in range(len(dataset))])
    model.eval()
    with torch.no_grad():
        logits = model(model.data_preprocessor({'inputs': images, 'targets': targets})['inputs'])
    return 100 * (logits.argmax(dim=1) == targets).double().mean().item()


@pytest.mark.parametrize('active', ['base', 'motivated'])
def test_both_models_are_evaluated_with_the_active_models_weights(tmp_path, active):
    runner: Runner = DualModelRunner.from_cfg(digits_config(tmp_path / 'run'))
    if active == 'motivated':
        runner.model.activate()
    with torch.no_grad():
        getattr(runner.model, active).backbone.fc.bias[3] += 1000  # whichever is active now says class 3
    metrics = runner.val()
    threes = 100 * sum(target == 3 for target in runner.val_dataloader.dataset.source.targets) / 360
    for name in ('base', 'motivated'):
        assert metrics[f'{name}/accuracy/top1'] == pytest.approx(threes)
        assert metrics[f'{name}/accuracy/top1'] == pytest.approx(
            accuracy_by_hand(getattr(runner.model, name), runner.val_dataloader.dataset)
        )


def test_test_loop_evaluates_only_the_given_models(tmp_path):
    config = digits_config(tmp_path / 'run')
    config.test_cfg.models = ['motivated']
    metrics = DualModelRunner.from_cfg(config).test()
    assert set(metrics) == {'motivated/accuracy/top1', 'motivated/accuracy/top5'}
