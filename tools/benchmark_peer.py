"""How fast a folder of JPEG images is trained on, beside timm's own train.py.

Makes a folder of JPEG images, and trains the same model on it with timm's train.py and with this framework (policy
Always), each as a whole process, one after the other, several times: same images, augmentation (random resized crop,
flip), batch size, optimizer, worker processes, validation and checkpoint. timm's train.py is not part of its package:
give the path of the file of that version. Options of both for a second comparison, such as the best that each has:

    python tools/benchmark_peer.py --timm-train train.py --ours=channels_last=True --timm=--channels-last

Prints, as medians and with their ratios, images a second of the whole process (with start, validation and saving), of
the median training step, and of processor time on all cores, which others on the machine change less.
"""

import argparse
import json
import re
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image, ImageDraw

from motivation.errors import ConfigError, clear_errors
from motivation.utils.command_line import at_least

ROOT = Path(__file__).parent.parent
# Smallest mean side of an image whose finest noise has a pixel.
SMALLEST = 20

FIGURES = {'whole': 'images/s, whole', 'step': 'images/s, step', 'processor': 'images/s of processor time'}

CONFIG = """
_base_ = [{runtime!r}]
classifier = dict(type='TimmClassifier', model_name={model!r}, num_classes=10)
model = dict(type='DualModel', base=classifier, motivated=classifier)
motivation = dict(policy=dict(type='Always'))
crop = [dict(type='RandomResizedCrop', size=[{size}, {size}]), dict(type='RandomHorizontalFlip')]
resize = [dict(type='Resize', size=[{resized}]), dict(type='CenterCrop', size=[{size}, {size}])]
loader = dict(batch_size={batch}, num_workers={workers})
data = dict(type='TimmDataset', root={folder!r}, cache_mib=0)
train_dataloader = dict(
    **loader, drop_last=True, sampler=dict(type='DefaultSampler', shuffle=True), dataset=dict(**data, transforms=crop))
val_dataloader = dict(
    **loader, sampler=dict(type='DefaultSampler', shuffle=False), dataset=dict(**data, split='val', transforms=resize))
val_cfg = dict(models=['motivated'])
val_evaluator = dict(type='Accuracy', topk=(1, 5))
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=2e-5, nesterov=True))
param_scheduler = []
train_cfg = dict(max_epochs={epochs})
"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--timm-train', type=Path, required=True, help="path of timm's train.py")
    parser.add_argument('--images', type=at_least(10), default=2000, help='training images; a tenth more validate')
    parser.add_argument('--side', type=at_least(SMALLEST), default=300, help='mean side of the JPEG images in pixels')
    parser.add_argument('--model', default='resnet18', help='any timm model')
    parser.add_argument('--size', type=at_least(1), default=96, help='side of the crops in pixels')
    parser.add_argument('--batch-size', type=at_least(1), default=64, help='images of a batch')
    parser.add_argument('--workers', type=at_least(0), default=2, help='worker processes of each data loader')
    parser.add_argument('--epochs', type=at_least(1), default=1, help='epochs of each process')
    parser.add_argument('--repeats', type=at_least(1), default=3, help='runs of each')
    parser.add_argument('--ours', default='', help='options of a second comparison, as after --cfg-options')
    parser.add_argument('--timm', default='', help="options of a second comparison, as timm's train.py takes them")
    parser.add_argument('--json', type=Path, help='file for the figures')
    return parser.parse_args()


def check(args: argparse.Namespace) -> None:
    """Check what would otherwise be noticed only after the images are made.

    Raises:
        ConfigError: There is no such train.py, no whole batch, or no folder for the figures.
    """
    if not args.timm_train.is_file():
        raise ConfigError(
            f"--timm-train is '{args.timm_train}', which is no file; download train.py of timm {timm.__version__} from its "
            'repository'
        )
    if args.images < args.batch_size:
        raise ConfigError(
            f'--images is {args.images}, less than a batch, --batch-size {args.batch_size}, and both drop an incomplete '
            'batch; give more images'
        )
    if args.json and not args.json.resolve().parent.is_dir():
        raise ConfigError(f"--json is '{args.json}', whose folder does not exist; make it, or name another")


def make_folder(folder: Path, images: int, side: int) -> None:
    """Write JPEG images of ten classes: noise of three scales and some shapes, quality 90, always the same."""
    draw = np.random.default_rng(0)
    for split, count in (('train', images), ('val', max(images // 10, 10))):
        for number in range(count):
            width, height = draw.integers(side * 7 // 8, side * 9 // 8 + 1, 2).tolist()
            pixels = np.zeros((height, width, 3))
            for cell, share in ((side // 5, 0.5), (side // 20, 0.3), (side // 80 + 1, 0.2)):
                noise = draw.integers(0, 256, (height // cell + 1, width // cell + 1, 3), dtype=np.uint8)
                pixels += share * np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))
            image = Image.fromarray(pixels.astype(np.uint8))
            for _ in range(number % 10):  # shapes to count
                x, y, radius = (int(draw.integers(0, limit)) for limit in (width, height, side // 4))
                colour = tuple(int(level) for level in draw.integers(0, 256, 3))
                ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
            path = folder / split / f'class{number % 10}' / f'{number}.jpg'
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path, quality=90)


def timm_command(args: argparse.Namespace, folder: Path, out: Path, options: str) -> list[str]:
    return [
        *(sys.executable, str(args.timm_train.resolve()), '--data-dir', str(folder), '--val-split', 'val'),
        *('--model', args.model, '--num-classes', '10', '--img-size', str(args.size), '--crop-pct', '0.95'),
        *('-b', str(args.batch_size), '-j', str(args.workers), '--epochs', str(args.epochs), '--output', str(out)),
        *('--opt', 'sgd', '--lr', '0.05', '--sched', 'step', '--decay-epochs', '10000', '--warmup-epochs', '0'),
        *('--color-jitter', '0', '--train-interpolation', 'bilinear', '--interpolation', 'bilinear'),
        *('--smoothing', '0', '--log-interval', '1', '--device', 'cuda' if torch.cuda.is_available() else 'cpu'),
        *(['--pin-mem'] if torch.cuda.is_available() else []),
        *shlex.split(options),
    ]


def our_command(args: argparse.Namespace, folder: Path, out: Path, options: str) -> list[str]:
    """Write the config of our run, and return the command of tools/train.py."""
    out.mkdir()
    parts = dict(model=args.model, size=args.size, resized=int(args.size / 0.95), batch=args.batch_size)
    parts |= dict(workers=args.workers, folder=str(folder), epochs=args.epochs)
    config = CONFIG.format(runtime=str(ROOT / 'configs/_base_/default_runtime.py'), **parts)
    (out / 'peer.py').write_text(config)
    command = [sys.executable, str(ROOT / 'tools/train.py'), str(out / 'peer.py'), '--work-dir', str(out / 'run')]
    return command + (['--cfg-options', *shlex.split(options)] if options else [])


def measure(command: list[str], args: argparse.Namespace, out: Path) -> dict[str, float]:
    """Run a process; return its images a second: of the whole, of a step, of processor time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f'{shlex.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}')
    logged = [json.loads(line) for file in out.rglob('scalars.json') for line in file.read_text().splitlines()]
    steps = [step['time'] for step in logged if 'loss' in step]
    steps = steps or [float(value) for value in re.findall(r'Train: .*?Time: ([\d.]+)s', done.stdout)]
    if not steps:
        raise ConfigError(
            f'{shlex.join(command)} has logged no step; this is not the train.py of timm {timm.__version__}'
        )
    images = args.images // args.batch_size * args.batch_size * args.epochs  # both drop the last batch
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    step = args.batch_size / statistics.median(steps[len(steps) // 5 :])
    return {'whole': images / seconds, 'step': step, 'processor': images / busy}


def main() -> None:
    args = parse_args()
    check(args)
    rows: dict[str, Any] = {
        'plain': ('', ''),
        **({'options': (args.ours, args.timm)} if args.ours or args.timm else {}),
    }
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / 'folder'
        make_folder(folder, args.images, args.side)
        for row, (ours, others) in rows.items():
            runs: dict[str, list[dict[str, float]]] = {'timm': [], 'motivation': []}
            for number in range(2 * args.repeats):
                out = Path(parent) / f'{row}{number}'
                is_ours = number % 4 in (1, 2)  # takes turns in which is first
                command = our_command(args, folder, out, ours) if is_ours else timm_command(args, folder, out, others)
                runs['motivation' if is_ours else 'timm'].append(measure(command, args, out))
            rows[row] = runs
    print(f'{args.model} at {args.size} px, batch {args.batch_size}, {args.images:,} images, {args.workers} workers')
    print(f'torch {torch.__version__}, timm {timm.__version__}, medians of {args.repeats} runs')
    for row, runs in rows.items():
        for figure, title in FIGURES.items():
            peer, own = (statistics.median(run[figure] for run in runs[name]) for name in ('timm', 'motivation'))
            pairs = zip(runs['motivation'], runs['timm'], strict=True)
            ratio = statistics.median(mine[figure] / other[figure] for mine, other in pairs)
            print(f'{row:8} {title:27} timm {peer:8.2f}   motivation {own:8.2f}   ratio {ratio:.3f}')
    if args.json:
        args.json.write_text(json.dumps({'arguments': vars(args), 'runs': rows}, default=str, indent=2))


if __name__ == '__main__':
    with clear_errors():
        main()
