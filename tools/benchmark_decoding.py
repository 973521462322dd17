"""How long a folder of JPEG images takes to read, decode and augment: each decoder, and timm's own dataset.

Makes the images of tools/benchmark_peer.py, and reads them one by one with a random resized crop and flip as training
does, and with a resize as validation does: as uint8 tensors, from each decoder of TimmDataset and from timm's
ImageDataset with its create_transform. Prints the processor time an image in one thread, the median over repetitions
that take turns, how much faster each is than timm, and by how many levels of 255 its pixels differ from Pillow's.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from benchmark_peer import SMALLEST, make_folder

from motivation.datasets import TimmDataset
from motivation.errors import clear_errors
from motivation.utils.command_line import at_least


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=at_least(1), default=200, help='images read')
    parser.add_argument('--side', type=at_least(SMALLEST), default=300, help='mean side of the JPEG images in pixels')
    parser.add_argument('--size', type=at_least(1), default=96, help='side of the crops in pixels')
    parser.add_argument('--repeats', type=at_least(1), default=5, help='readings of each')
    return parser.parse_args()


def readers(folder: str, size: int, is_training: bool) -> dict[str, Callable[[int], Any]]:
    """Return what reads an image of the folder, by name."""
    crop = dict(type='RandomResizedCrop', size=[size, size])
    transforms = [crop, dict(type='RandomHorizontalFlip')] if is_training else [dict(type='Resize', size=[size, size])]
    options: dict[str, Any] = (
        dict(no_aug=False, color_jitter=0) if is_training else dict(crop_pct=1, crop_mode='squash')
    )
    theirs = timm.data.create_dataset('', folder, split='train')
    theirs.transform = timm.data.create_transform(
        size, is_training=is_training, interpolation='bilinear', use_prefetcher=True, **options
    )
    ours = {
        name: TimmDataset(folder, transforms=transforms, cache_mib=0, decoder=name)  # type: ignore[arg-type]
        for name in ('pillow', 'opencv', 'scaled')
    }
    return {'timm': theirs.__getitem__, **{name: dataset.__getitem__ for name, dataset in ours.items()}}


def main() -> None:
    args = parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        make_folder(Path(folder), args.images, args.side)
        for is_training in (True, False):
            seconds: dict[str, list[float]] = {}
            pixels: dict[str, torch.Tensor] = {}
            for _ in range(args.repeats):
                for name, read in readers(folder, args.size, is_training).items():
                    torch.manual_seed(0)
                    begun = time.process_time()
                    images = [read(index) for index in range(args.images)]
                    seconds.setdefault(name, []).append(time.process_time() - begun)
                    if name != 'timm':  # which draws its crops from other random numbers
                        pixels[name] = torch.stack([image['inputs'] for image in images]).int()
            for name, own in seconds.items():
                ratio = statistics.median(peer / one for peer, one in zip(seconds['timm'], own, strict=True))
                milliseconds = 1000 * statistics.median(own) / args.images
                difference = (pixels.get(name, pixels['pillow']) - pixels['pillow']).abs()
                of_pillow = f', differs by {difference.double().mean():.3f}, at most {difference.max()}'
                print(
                    f'{"crop and flip" if is_training else "resize":13}  {name:7} {milliseconds:7.2f} ms an image, '
                    f'{ratio:.2f} x timm{of_pillow if name != "timm" else ""}'
                )


if __name__ == '__main__':
    with clear_errors():
        main()
