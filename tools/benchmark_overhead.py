"""How much slower an iteration of the framework is than the same iteration of a bare PyTorch loop.

Trains cifar_resnet20 (base of cifar_resnet56, policy Never) at batch 128 on random images in memory,
with every default hook at work: meter, logs of each step, TensorBoard, progress. After each of its
iterations a bare loop makes one of its own in the same process, with the same model, optimizer and
batch size, so that both see the same machine. Prints the medians and their ratio, and what the
compute meter takes of an iteration (on a GPU that includes its wait for the end of the step).

Measured on two cores of an AMD EPYC machine, torch 2.14.1: framework 313.3 ms, bare loop 311.9 ms,
ratio 1.004 (100 iterations; the aim is 1.05 or less); compute meter 0.142 ms, 0.045 % (at most 0.2 %).
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from motivation.errors import check_stack, clear_errors

CONFIG = Path(__file__).parent.parent / 'configs/cifar10/resnet20_resnet56_never.py'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--iters', type=int, default=100, help='iterations measured')
    parser.add_argument('--warmup', type=int, default=10, help='iterations before them')
    parser.add_argument(
        '--augment', action='store_true', help="with the config's crop and flip, which the bare loop lacks"
    )
    return parser.parse_args()


def main() -> None:
    check_stack()
    args = parse_args()

    import torch
    from mmengine.hooks import Hook
    from torch import nn

    from motivation.config.read import load_config
    from motivation.datasets.image_dataset import ImageDataset, TensorImages
    from motivation.hooks import ComputeMeterHook
    from motivation.models import TimmClassifier
    from motivation.registry import DATASETS, RUNNERS

    batch_size = 128
    iters = args.warmup + args.iters

    @DATASETS.register_module()
    class RandomImages(ImageDataset):
        """Images of random bytes, in memory."""

        def __init__(self, count: int, transforms: Any = ()) -> None:
            images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
            source = TensorImages(images, torch.randint(0, 10, (count,)))
            super().__init__(source, [str(index) for index in range(10)], transforms)

    class Stopwatch:
        """Times the calls of a function."""

        def __init__(self, function: Any) -> None:
            self.function = function
            self.seconds: list[float] = []

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            result = self.function(*args, **kwargs)
            self.seconds.append(time.perf_counter() - begun)
            return result

    class BareLoop(Hook):
        """Times what lies between two of its own steps, and these."""

        priority = 'LOWEST'

        def __init__(self) -> None:
            torch.manual_seed(0)
            classifier = TimmClassifier('cifar_resnet20', num_classes=10)
            self.model = classifier.backbone.train()
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
            self.images = torch.randn(batch_size, 3, 32, 32)
            self.targets = torch.randint(0, 10, (batch_size,))
            self.framework: list[float] = []
            self.bare: list[float] = []
            self.begun = 0.0

        def step(self) -> None:
            loss = nn.functional.cross_entropy(self.model(self.images), self.targets)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            loss.item()

        def before_train_epoch(self, runner: Any) -> None:
            self.model = self.model.to(runner.model.base.data_preprocessor.device)
            self.images, self.targets = (
                x.to(runner.model.base.data_preprocessor.device) for x in (self.images, self.targets)
            )
            self.begun = time.perf_counter()

        def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
            now = time.perf_counter()
            self.framework.append(now - self.begun)
            self.step()
            self.begun = time.perf_counter()
            self.bare.append(self.begun - now)

    config = load_config(str(CONFIG), {'train_cfg.max_epochs': 1})
    transforms = config.train_dataloader.dataset.transforms if args.augment else []
    config.train_dataloader.dataset = dict(type='RandomImages', count=iters * batch_size, transforms=transforms)
    config.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=True)
    config.val_dataloader = config.val_cfg = config.val_evaluator = None
    with tempfile.TemporaryDirectory() as work_dir:
        config.work_dir = work_dir
        runner = RUNNERS.build(config)
        bare = BareLoop()
        runner.register_hook(bare)
        meter = runner.find_hook(ComputeMeterHook)
        meter.after_train_iter = Stopwatch(meter.after_train_iter)
        runner.train()
    framework_ms, bare_ms = (1000 * statistics.median(times[args.warmup :]) for times in (bare.framework, bare.bare))
    device = runner.model.base.data_preprocessor.device
    print(f'{args.iters} iterations at batch {batch_size} on {device}, {torch.get_num_threads()} threads')
    print(f'framework {framework_ms:.1f} ms, bare loop {bare_ms:.1f} ms, ratio {framework_ms / bare_ms:.3f}')
    meter_ms = 1000 * statistics.mean(meter.after_train_iter.seconds[args.warmup :])
    print(f'of which the compute meter {meter_ms:.3f} ms, {meter_ms / framework_ms:.3%}')


if __name__ == '__main__':
    with clear_errors():
        main()
