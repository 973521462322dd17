import torch
from torch.utils.data import default_collate

from motivation.datasets import DigitsDataset
from motivation.engine.recalibration import recalibrated
from motivation.engine.runner import DualModelRunner
from motivation.export.exported_model import load_exported
from tests.conftest import digits_config, snapshot, tiny_config, train


def test_statistics_are_those_of_the_training_images_under_the_current_weights(tmp_path):
    runner = DualModelRunner.from_cfg(digits_config(tmp_path, **{'model.recalibrate': 64}))
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    seen = []
    runner.model.base.backbone.conv1.register_forward_hook(lambda module, args, output: seen.append(output.detach()))
    before, state = snapshot(runner.model), torch.get_rng_state()
    with recalibrated(runner):
        assert len(seen) == 1 and len(seen[0]) == 64  # one batch of 64 images
        norm = runner.model.base.backbone.bn1
        torch.testing.assert_close(norm.running_mean, seen[0].mean(dim=(0, 2, 3)))
        torch.testing.assert_close(norm.running_var, seen[0].var(dim=(0, 2, 3)), rtol=1e-3, atol=1e-4)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in snapshot(runner.model).items())


def test_training_data_are_not_read_again(tmp_path, monkeypatch):
    built = []
    build = DigitsDataset.__init__
    monkeypatch.setattr(
        DigitsDataset, '__init__', lambda self, **kwargs: built.append(kwargs['split']) or build(self, **kwargs)
    )
    train(tiny_config(tmp_path, epochs=2, **{'model.recalibrate': 64}))
    assert sorted(built) == ['test', 'train']


def test_images_are_the_same_every_time(tmp_path):
    runner = DualModelRunner.from_cfg(digits_config(tmp_path, **{'model.recalibrate': 100}))
    means = []
    for _ in range(2):
        with recalibrated(runner):
            means.append(runner.model.motivated.backbone.bn1.running_mean.clone())
        torch.rand(3)
    assert torch.equal(*means) and means[0].any()


def test_training_is_unchanged(tmp_path):
    with_it = train(tiny_config(tmp_path / 'a', epochs=2, **{'model.recalibrate': 64}))
    without = train(tiny_config(tmp_path / 'b', epochs=2))
    tensors = without.model.state_dict()
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in with_it.model.state_dict().items())


def test_exported_models_have_the_statistics_they_were_evaluated_with(tmp_path):
    runner = train(tiny_config(tmp_path, epochs=2, **{'model.recalibrate': 64}))
    exported = load_exported(tmp_path / 'base.pth')
    batch = default_collate([runner.val_dataloader.dataset[i] for i in runner.val_dataloader.sampler])
    logits = exported(exported.data_preprocessor(batch)['inputs'])
    accuracy = 100 * (logits.argmax(1) == batch['targets']).double().mean()
    with recalibrated(runner):
        assert torch.equal(exported.backbone.bn1.running_mean, runner.model.base.backbone.bn1.running_mean)
    assert not torch.equal(exported.backbone.bn1.running_mean, runner.model.base.backbone.bn1.running_mean)
    assert abs(accuracy - runner.val_loop.run()['base/accuracy/top1']) < 1e-9
