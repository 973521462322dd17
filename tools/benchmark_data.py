"""How much faster batches come from data on the device than image by image.

Makes the batches of a config's training data in both ways, in turns in one process: the random transforms alone, and
whole batches of the data loaders (seeding, reading, augmenting, stacking). The ordinary loader has no workers, so
that both do their work on this thread; the device is that of training.

    OMP_NUM_THREADS=1 python tools/benchmark_data.py --cfg-options train_dataloader.dataset.root=data/cifar10

Results are in docs/speed.md.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from motivation.errors import ConfigError, check_stack, clear_errors
from motivation.utils.command_line import at_least

CONFIG = Path(__file__).parent.parent / 'configs/cifar10/resnet20_resnet56_never.py'


def parse_args() -> argparse.Namespace:
    from motivation.utils.command_line import Options

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', nargs='?', default=str(CONFIG), help='config with the training data')
    parser.add_argument('--batches', type=at_least(1), default=100, help='batches measured')
    parser.add_argument('--warmup', type=at_least(0), default=10, help='batches before them')
    parser.add_argument(
        '--cfg-options', nargs='+', action=Options, default={}, metavar='KEY=VALUE', help='fields of the config'
    )
    return parser.parse_args()


def augmentations(node: Any) -> dict[str, Callable[[], Any]]:
    """Return functions that augment the images of one batch, by the name of the way."""
    import torch
    from mmengine.device import get_device

    from motivation.config.build import build
    from motivation.datasets.device_loader import divide
    from motivation.registry import BATCH_TRANSFORMS, DATASETS, TRANSFORMS

    once, random = divide(node.dataset.to_dict())
    dataset = build(DATASETS, once, 'train_dataloader.dataset')
    if len(dataset) < node.batch_size:
        raise ConfigError(
            f'train_dataloader.batch_size is {node.batch_size}, and the dataset has {len(dataset)} images; give a smaller one'
        )
    images = [dataset[index]['inputs'] for index in range(node.batch_size)]
    batch = torch.stack(images).to(get_device())
    single, batched = (
        [registry.build(dict(part)) for _, part in random] for registry in (TRANSFORMS, BATCH_TRANSFORMS)
    )
    print(f'{node.batch_size} images of {tuple(batch.shape[1:])}: {", ".join(type(part).__name__ for part in single)}')

    def apply(transforms: list[Any], image: Any) -> Any:
        for transform in transforms:
            image = transform(image)
        return image

    return {
        'image by image': lambda: [apply(single, image) for image in images],
        'whole batches': lambda: apply(batched, batch),
    }


def loaders(config: Any) -> dict[str, Callable[[], Any]]:
    """Return functions that return the next batch of each data loader, by its type."""
    from mmengine.runner import Runner

    from motivation.config.build import build_data_loader
    from motivation.config.defaults import with_defaults
    from motivation.datasets.seeded import SeededDataset
    from motivation.engine.epoch_batches import EpochBatches

    node = with_defaults(config).train_dataloader.to_dict()
    node.pop('num_workers', None)
    runner: Any = SimpleNamespace(seed=0, announce=print, build_dataloader=Runner.build_dataloader)

    def forever(kind: str) -> Any:
        loader = build_data_loader(
            runner, {**node, 'type': kind}, 'train_dataloader', lambda dataset: SeededDataset(dataset, (0, 0))
        )
        batches = EpochBatches(loader, print)
        while True:
            yield from batches.after(0, 1)

    return {kind: forever(kind).__next__ for kind in ('DataLoader', 'DeviceDataLoader')}


def compare(what: str, ways: dict[str, Callable[[], Any]], args: argparse.Namespace) -> None:
    """Time two ways in turns, and print their medians and the ratio."""
    import torch

    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.warmup + args.batches):
        for name, make in ways.items():
            begun = time.perf_counter()
            make()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - begun)
    slow, fast = (1000 * statistics.median(taken[args.warmup :]) for taken in seconds.values())
    names = ' and '.join(ways)
    print(f'{what}, {names}: {slow:.2f} and {fast:.2f} ms a batch, ratio {slow / fast:.1f}')


def main() -> None:
    check_stack()
    args = parse_args()
    import torch
    from mmengine.device import get_device

    from motivation.config.checks import check_config
    from motivation.config.read import load_config

    config = load_config(args.config, args.cfg_options)
    check_config(config)
    print(f'{args.batches} batches on {get_device()}, {torch.get_num_threads()} threads')
    compare('random transforms', augmentations(config.train_dataloader), args)
    compare('data loaders', loaders(config), args)


if __name__ == '__main__':
    with clear_errors():
        main()
