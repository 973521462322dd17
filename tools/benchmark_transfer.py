"""Measure the cost of a switch: a transfer, compared with a plain copy and with a training step.

For each pair, transfers in both directions are timed in alternation with the copy of one flat tensor that has as many
bytes as all mapped tensors, so that both are measured under the same load. The training step is that of the base
model, which is the faster one. Prints medians.

Measured on two cores of an AMD EPYC machine, torch 2.14.1: 1.25 x a plain copy for resnet18 in 34, 2.3 and
2.5 x for the width of efficientnet_b0 in b2 and vit_tiny in small, 7 x for a random choice of channels; below
0.05 % of the time between two switches throughout (docs/weight_maps.md).
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

from motivation.errors import check_stack, clear_errors

# Base model, motivated model, choice of channels.
PAIRS: list[tuple[str, str, Any]] = [
    ('resnet18', 'resnet34', 'leading'),
    ('efficientnet_b0', 'efficientnet_b2', 'leading'),
    ('vit_tiny_patch16_224', 'vit_small_patch16_224', 'leading'),
    ('efficientnet_b0', 'efficientnet_b2', 'seeded'),
    ('vit_tiny_patch16_224', 'vit_small_patch16_224', 'seeded'),
]

# Typical number of batches between two switches.
BATCHES_PER_SWITCH = 6


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--repeats', type=int, default=50, help='number of transfers in each direction')
    parser.add_argument('--steps', type=int, default=3, help='number of training steps')
    parser.add_argument('--batch-size', type=int, default=64, help='images per training step')
    return parser.parse_args()


def main() -> None:
    check_stack()
    args = parse_args()

    # Imported after check_stack(), which reports a broken installation in one sentence.
    import torch

    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    print(f'{device}, {torch.get_num_threads()} threads, batch {args.batch_size} at 224 px; milliseconds, medians')
    print(f'{"pair":<54}   MiB  transfer    copy  ratio      step  share of {BATCHES_PER_SWITCH} steps')
    for base, motivated, channels in PAIRS:
        size, transfer, copy, step = time_pair(base, motivated, channels, args, device)
        share = transfer / (BATCHES_PER_SWITCH * step)
        pair = f'{base} in {motivated}, {channels}'
        print(f'{pair:<54} {size:5.1f} {transfer:9.3f} {copy:7.3f} {transfer / copy:6.2f} {step:9.1f} {share:17.3%}')


def time_pair(
    base_name: str, motivated_name: str, channels: Any, args: argparse.Namespace, device: Any
) -> tuple[float, float, float, float]:
    """Return the size of the mapped tensors in MiB, and the ms of a transfer, a plain copy and a training step."""
    import timm
    import torch
    from torch import nn

    from motivation.weight_maps import AutoMap

    base, motivated = (timm.create_model(name).to(device) for name in (base_name, motivated_name))
    weight_map = AutoMap(base, motivated, channels=channels)
    size = sum(weight_map.tensors('base')[pair.base].nbytes for pair in weight_map.pairs if not pair.is_statistic)
    flat = [torch.zeros(size // 4, device=device) for _ in range(2)]
    optimizer = torch.optim.SGD(base.parameters(), lr=0.01, momentum=0.9)
    images = torch.randn(args.batch_size, 3, 224, 224, device=device)
    targets = torch.zeros(args.batch_size, dtype=torch.long, device=device)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(base(images), targets).backward()
        optimizer.step()

    def milliseconds(work: Callable[..., Any], *arguments: Any) -> float:
        begun = time.perf_counter()
        work(*arguments)
        if device.type == 'cuda':
            torch.cuda.synchronize()
        return 1000 * (time.perf_counter() - begun)

    transfers, copies = [], []
    for _ in range(args.repeats):
        for source in ('base', 'motivated'):
            transfers.append(milliseconds(weight_map.transfer, source))
            copies.append(milliseconds(flat[0].copy_, flat[1]))
            flat.reverse()
    step()
    steps = [milliseconds(step) for _ in range(args.steps)]
    return size / 2**20, statistics.median(transfers), statistics.median(copies), statistics.median(steps)


if __name__ == '__main__':
    with clear_errors():
        main()
