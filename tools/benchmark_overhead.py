"""How much slower an iteration of the framework is than the same iteration of a bare PyTorch loop.

Trains cifar_resnet20 (base of cifar_resnet56, policy Never) on random images in memory, with every
default hook at work: meter, logs of each step, TensorBoard, progress. After each of its iterations a
bare loop makes one of its own in the same process, with the same model, optimizer and batch size, so
that both see the same machine. Prints the medians and their ratio, and what the compute meter takes of
an iteration (on a GPU that includes its wait for the end of the step).

With --ema the framework averages the weights of both models as well (model.ema); prints what this takes of
an iteration (at most 2 %; measured in docs/speed.md).

With --after N a second run takes turns with the first, its trace, histories and meter filled as after N
batches. Prints what the framework adds to an iteration of each in processor time, which others on the
machine do not change, the size of a checkpoint of each without the trace, and the size of the trace. A
small batch shows best what the framework adds.

Measured on two cores of an AMD EPYC machine, torch 2.14.1: framework 313.3 ms, bare loop 311.9 ms,
ratio 1.004 (100 iterations; the aim is 1.05 or less); compute meter 0.142 ms, 0.045 % (at most 0.2 %).
With --batch-size 8 --iters 200 --after 500000, on two such cores shared with other processes: the
framework adds 4.46 ms of processor time to 46.71 ms at first, 4.25 ms after 500,000 batches, 8.7 and
8.3 % of an iteration; a checkpoint without the trace has 5,807,147 and 5,807,289 bytes, the trace 14 a batch.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from motivation.errors import check_stack, clear_errors
from motivation.utils.command_line import at_least

CONFIG = Path(__file__).parent.parent / 'configs/cifar10/resnet20_resnet56_never.py'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--iters', type=at_least(1), default=100, help='iterations measured')
    parser.add_argument('--warmup', type=at_least(0), default=10, help='iterations before them')
    parser.add_argument('--batch-size', type=at_least(1), default=128, help='images of a batch')
    parser.add_argument('--after', type=at_least(1), metavar='N', help='compare with a run that has done N batches')
    parser.add_argument('--ema', action='store_true', help='average the weights of both models, too')
    parser.add_argument(
        '--augment', action='store_true', help="with the config's crop and flip, which the bare loop lacks"
    )
    return parser.parse_args()


def register_parts() -> None:
    """Register the images, the meter and the models of the benchmark."""
    from in_turns import register_images

    from motivation.hooks import ComputeMeterHook
    from motivation.models import DualModel
    from motivation.registry import HOOKS, MODELS

    register_images()

    @HOOKS.register_module()
    class TimedMeterHook(ComputeMeterHook):
        """The compute meter, which notes how long it takes after each batch."""

        def __init__(self) -> None:
            super().__init__()
            self.seconds: list[float] = []

        def after_train_iter(self, *args: Any, **kwargs: Any) -> None:
            begun = time.perf_counter()
            super().after_train_iter(*args, **kwargs)
            self.seconds.append(time.perf_counter() - begun)

    @MODELS.register_module()
    class TimedDualModel(DualModel):
        """Both models, which note how long they take to be averaged after each batch."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.seconds: list[float] = []

        def average(self) -> None:
            begun = time.perf_counter()
            super().average()
            self.seconds.append(time.perf_counter() - begun)


def bare_loop(batch_size: int, device: Any) -> Callable[[], None]:
    """Return a function that makes one iteration of a bare PyTorch loop."""
    import torch
    from torch import nn

    from motivation.models import TimmClassifier

    torch.manual_seed(0)
    model = TimmClassifier('cifar_resnet20', num_classes=10).backbone.train().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    images = torch.randn(batch_size, 3, 32, 32, device=device)
    targets = torch.randint(0, 10, (batch_size,), device=device)

    def step() -> None:
        loss = nn.functional.cross_entropy(model(images), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()

    return step


def make_config(args: argparse.Namespace, work_dir: str) -> Any:
    """Return the config of a run over random images that ends without results."""
    from motivation.config.read import load_config

    config = load_config(str(CONFIG), {'train_cfg.max_epochs': 1, 'default_hooks.compute_meter.type': 'TimedMeterHook'})
    transforms = config.train_dataloader.dataset.transforms if args.augment else []
    images = (args.warmup + args.iters) * args.batch_size
    config.train_dataloader.batch_size = args.batch_size
    config.train_dataloader.dataset = dict(type='RandomImages', count=images, transforms=transforms)
    config.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=True)
    config.val_dataloader = config.val_cfg = config.val_evaluator = None
    config.default_hooks.update(report=None, export=None)
    if args.ema:
        config.model.update(type='TimedDualModel', ema=dict(decay=0.999))
    config.work_dir = work_dir
    return config


def age(loop: Any, batches: int) -> None:
    """Fill the state of a run that has done one batch as after many."""
    import numpy as np
    from mmengine.logging import HistoryBuffer

    from motivation.hooks import MotivationHook
    from motivation.hooks.compute_meter_hook import require_meter

    runner, random = loop.runner, np.random.default_rng(0)
    motivated = (random.random(batches) < 1 / 6).astype(np.uint8)
    losses, epochs = random.random(batches), np.arange(batches) // 1000
    trace = {'epochs': epochs, 'losses': losses, 'motivated': motivated, 'decisions': motivated}
    runner.find_hook(MotivationHook).trace.load_state_dict(trace)
    for name in runner.message_hub.log_scalars:  # all that was ever logged: the loop is to let it go
        runner.message_hub.log_scalars[name] = HistoryBuffer(losses, np.ones(batches), max_length=batches)
    for work in require_meter(runner).trained.values():
        work.add(128 * batches, 10**10 * batches, 2 * 10**10 * batches, iters=batches, seconds=0.1 * batches)
    loop.load_state_dict(loop.state_dict() | {'iter': batches, 'epoch_begin': batches})


def checkpoint_sizes(runner: Any, folder: Path) -> tuple[int, int]:
    """Return the bytes of a checkpoint without the trace, and those of the trace."""
    from motivation.hooks import MotivationHook

    runner.save_checkpoint(folder, 'size.pth')
    trace = sum(column.nbytes for column in runner.find_hook(MotivationHook).trace.state_dict().values())
    return (folder / 'size.pth').stat().st_size - trace, trace


def measure(args: argparse.Namespace, loops: list[Any]) -> None:
    """Time the loops and a bare one in turns, and print what follows."""
    import torch
    from in_turns import time_in_turns

    device = loops[0].runner.model.base.data_preprocessor.device
    steps = [*(loop.step for loop in loops), bare_loop(args.batch_size, device)]
    grow_old = (lambda: age(loops[1], args.after)) if args.after else lambda: None
    seconds, busy = time_in_turns(steps, args.iters, args.warmup, grow_old)
    framework, *_, bare = (1000 * statistics.median(own) for own in seconds)
    print(f'{args.iters} iterations at batch {args.batch_size} on {device}, {torch.get_num_threads()} threads')
    print(f'framework {framework:.1f} ms, bare loop {bare:.1f} ms, ratio {framework / bare:.3f}')
    meter = next(hook for hook in loops[0].runner.hooks if type(hook).__name__ == 'TimedMeterHook')
    meter_ms = 1000 * statistics.mean(meter.seconds[args.warmup :])
    print(f'of which the compute meter {meter_ms:.3f} ms, {meter_ms / framework:.3%}')
    if args.ema:
        averaging = 1000 * statistics.median(loops[0].runner.model.seconds[args.warmup :])
        print(f'of which averaging the weights {averaging:.3f} ms, {averaging / framework:.3%}')
    if not args.after:
        return
    young, old, bare = (1000 * statistics.median(own) for own in busy)
    print(
        f'processor time: bare loop {bare:.2f} ms; the framework adds {young - bare:.2f} ms at first and {old - bare:.2f} '
        f'ms after {args.after:,} batches, {1 - bare / young:.2%} and {1 - bare / old:.2%} of an iteration'
    )
    with tempfile.TemporaryDirectory() as folder:
        sizes = [checkpoint_sizes(loop.runner, Path(folder)) for loop in loops]
    print(
        f'checkpoint without the trace {sizes[0][0]:,} bytes at first, {sizes[1][0]:,} then; trace '
        f'{sizes[1][1] / (args.after + args.warmup + args.iters - 1):.1f} bytes a batch'
    )


def main() -> None:
    check_stack()
    args = parse_args()
    from in_turns import run_in_turns  # after check_stack()

    register_parts()
    with ExitStack() as stack:
        folders = [stack.enter_context(tempfile.TemporaryDirectory()) for _ in range(2 if args.after else 1)]
        run_in_turns([make_config(args, folder) for folder in folders], lambda loops: measure(args, loops))


if __name__ == '__main__':
    with clear_errors():
        main()
