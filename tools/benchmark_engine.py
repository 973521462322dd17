"""Images a second with each switch of the engine, of the framework and of a bare PyTorch loop.

For every switch (precision, micro-batches, channels_last, compile, ...) three loops take turns in one process: the
framework with the switch, a bare loop with the same switch written by hand, and a bare loop without any. So all see the
same machine. Trains the base model alone, the motivated model alone, and both (one batch in six motivated) on random
images in memory; the hooks that log and count are at work. Prints a table and, with --json, the numbers:

    framework      images a second of the framework
    to bare        its time, divided by that of the bare loop with the same switch
    speed-up       the time of the bare loop without switches, divided by its own

On a CUDA device the last column is the share of a framework iteration in which the device idles, from the profiler.
docs/speed.md has results.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

from motivation.errors import ConfigError, check_stack, clear_errors, near_matches
from motivation.utils.command_line import at_least

CONFIG = Path(__file__).parent.parent / 'configs/cifar10/resnet20_resnet56_consecutive.py'

# Fields of the config, by switch.
SWITCHES: dict[str, dict[str, Any]] = {
    'plain': {},
    'bf16': {'model.precision': 'bf16'},
    'fp16': {'model.precision': 'fp16'},
    'accumulate=2': {'optim_wrapper.accumulate': 2},
    'channels_last': {'model.channels_last': True},
    'fused': {'optim_wrapper.optimizer.fused': True},
    'compile': {'compile': True},
    'compile + channels_last': {'compile': True, 'model.channels_last': True},
    'compile + channels_last + bf16': {'compile': True, 'model.channels_last': True, 'model.precision': 'bf16'},
}

# Policies, and which model trains on the batches of a bare loop.
MODES: dict[str, tuple[dict[str, Any], list[str]]] = {
    'base': ({'type': 'Never'}, ['base']),
    'motivated': ({'type': 'Always'}, ['motivated']),
    'both': ({'type': 'Periodic', 'on': 1, 'off': 5}, ['base'] * 5 + ['motivated']),
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--iters', type=at_least(1), default=24, help='iterations measured, of each loop')
    parser.add_argument(
        '--warmup', type=at_least(0), default=8, help='iterations before them, in which models are compiled'
    )
    parser.add_argument('--batch-size', type=at_least(1), default=128, help='images of a batch')
    parser.add_argument('--base', default='cifar_resnet20', help='timm model')
    parser.add_argument('--motivated', default='cifar_resnet56', help='timm model that contains it')
    parser.add_argument('--switches', nargs='+', default=[*SWITCHES], metavar='NAME', help=f'of {", ".join(SWITCHES)}')
    parser.add_argument('--modes', nargs='+', default=[*MODES], choices=[*MODES], help='models that train')
    parser.add_argument('--json', type=Path, metavar='PATH', help='file for the numbers')
    args = parser.parse_args()
    for name in args.switches:
        if name not in SWITCHES:
            raise ConfigError(f'--switches has {name!r}, which is not one; {near_matches(name, SWITCHES)}')
    return args


def make_config(args: argparse.Namespace, switch: str, mode: str, work_dir: str) -> Any:
    """Return the config of a run over random images that ends without results."""
    from motivation.config.read import load_config

    config = load_config(str(CONFIG), {'train_cfg.max_epochs': 1, **SWITCHES[switch]})
    config.model.base.model_name, config.model.motivated.model_name = args.base, args.motivated
    config.motivation.policy = MODES[mode][0]
    images = (args.warmup + args.iters + PROFILED) * args.batch_size
    config.train_dataloader = dict(
        batch_size=args.batch_size,
        dataset=dict(type='RandomImages', count=images),
        sampler=dict(type='DefaultSampler', shuffle=True),
    )
    config.val_dataloader = config.val_cfg = config.val_evaluator = None
    config.default_hooks.update(report=None, export=None, progress=None)
    config.work_dir = work_dir
    return config


def bare_loop(args: argparse.Namespace, switch: str, mode: str, device: Any) -> Callable[[], None]:
    """Return a function that makes one iteration of a bare PyTorch loop with the same switch."""
    import torch
    from torch import nn

    from motivation.models import TimmClassifier
    from motivation.utils.precision import autocast

    fields = SWITCHES[switch]
    precision, parts = fields.get('model.precision', 'fp32'), fields.get('optim_wrapper.accumulate', 1)
    torch.manual_seed(0)
    networks, optimizers, scalers = {}, {}, {}
    for name in MODES[mode][1]:
        network = TimmClassifier(getattr(args, name), num_classes=10).backbone.train().to(device)
        if fields.get('model.channels_last'):
            network.to(memory_format=torch.channels_last)
        if fields.get('compile'):
            network.compile()
        networks[name] = network
        fused = True if fields.get('optim_wrapper.optimizer.fused') or device.type == 'cuda' else None
        optimizers[name] = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, fused=fused)
        scalers[name] = torch.amp.GradScaler(device.type, enabled=precision == 'fp16')
    images = torch.randn(args.batch_size, 3, 32, 32, device=device)
    targets = torch.randint(0, 10, (args.batch_size,), device=device)
    turns = cycle(MODES[mode][1])

    def step() -> None:
        name = next(turns)
        network, scaler = networks[name], scalers[name]
        total = torch.zeros((), device=device)
        for part, classes in zip(images.chunk(parts), targets.chunk(parts), strict=True):
            with autocast(precision, network):
                logits = network(part)
            loss = nn.functional.cross_entropy(logits.float(), classes) / parts
            scaler.scale(loss).backward()
            total += loss.detach()
        scaler.step(optimizers[name])
        scaler.update()
        optimizers[name].zero_grad()
        total.item()

    return step


# Iterations in the profiler.
PROFILED = 6


def idle_share(step: Callable[[], None]) -> float:
    """Return the share of some iterations in which a CUDA device has nothing to do, from 0 to 1."""
    import torch
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        begun = time.perf_counter()
        for _ in range(PROFILED):
            step()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - begun
    events = [event.time_range for event in profiler.events() if event.device_type == DeviceType.CUDA]
    return 1 - busy([(event.start, event.end) for event in events]) / (1e6 * seconds)


def busy(spans: list[tuple[float, float]]) -> float:
    """Return the length of the union of intervals."""
    total, end = 0.0, float('-inf')
    for first, last in sorted(spans):
        total += max(0.0, last - max(first, end))
        end = max(end, last)
    return total


def measure(args: argparse.Namespace, switch: str, mode: str) -> dict[str, Any]:
    """Time the framework and both bare loops in turns."""
    from in_turns import run_in_turns, time_in_turns

    result: dict[str, Any] = {'switch': switch, 'mode': mode}

    def time_loops(loops: list[Any]) -> None:
        device = loops[0].runner.model.base.data_preprocessor.device
        steps = [
            loops[0].step,
            bare_loop(args, switch, mode, device),
            *([bare_loop(args, 'plain', mode, device)] if switch != 'plain' else []),
        ]
        seconds, _ = time_in_turns(steps, args.iters, args.warmup)
        # With both models a period has batches of two costs, so that a mean is meant.
        middle = statistics.median if mode != 'both' else statistics.mean
        framework, same, *plain = map(middle, seconds)
        result['images_per_second'] = args.batch_size / framework
        result['to_bare'] = framework / same
        result['speed_up'] = (plain[0] if plain else same) / framework
        result['device'] = str(device)
        if device.type == 'cuda':
            result['idle_share'] = idle_share(loops[0].step)

    with tempfile.TemporaryDirectory() as folder:
        run_in_turns([make_config(args, switch, mode, folder)], time_loops)
    return result


def main() -> None:
    check_stack()
    args = parse_args()
    import torch
    from in_turns import register_images

    register_images()
    results = []
    print(f'{args.base} in {args.motivated}, batch {args.batch_size}, {torch.get_num_threads()} threads')
    print(f'{"switch":32}{"trains":>10}{"images/s":>10}{"to bare":>9}{"speed-up":>10}{"idle":>7}')
    for switch in args.switches:
        for mode in args.modes:
            row = measure(args, switch, mode)
            results.append(row)
            idle = f'{row["idle_share"]:.0%}' if 'idle_share' in row else '-'
            print(
                f'{switch:32}{mode:>10}{row["images_per_second"]:10.0f}{row["to_bare"]:9.3f}{row["speed_up"]:9.2f}x{idle:>7}',
                flush=True,
            )
    if args.json:
        args.json.write_text(json.dumps({'torch': torch.__version__, 'results': results}, indent=1))


if __name__ == '__main__':
    with clear_errors():
        main()
