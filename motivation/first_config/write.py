"""From images to a config on the disk, and what to do next."""

import csv
import io
import re
from pathlib import Path

from motivation.errors import ConfigError, counted, listed
from motivation.first_config.data import Data, find_data
from motivation.first_config.look import Look, look_at
from motivation.first_config.plan import UNBALANCED, Plan, make_plan
from motivation.first_config.text import config_text
from motivation.utils.files import write_whole
from motivation.weight_maps import verify


def write_first_config(
    source: str,
    out: str | None = None,
    models: tuple[str, str] | None = None,
    image_size: int | None = None,
    epochs: int | None = None,
    path_column: str = 'path',
    label_column: str = 'label',
) -> Path:
    """Write a config for images, and print what was found and chosen.

    Args:
        source: Folder or list of images, see :func:`~motivation.first_config.data.find_data`.
        out: Path of the config; ``None`` (default) for one named like the images, in the current folder.
        models: timm names of the base and the motivated model; ``None`` (default) for a pair by the image size.
        image_size: Side of the images that the models get, in pixels; ``None`` (default) to choose.
        epochs: Number of epochs; ``None`` (default) for those that have about 3,000 batches.
        path_column: Column of the paths in a list.
        label_column: Column of the labels.

    Returns:
        The path of the config.

    Raises:
        ConfigError: There are no images, the pair does not fit, or a file exists already.
    """
    path = Path(out) if out else Path(f'{_stem(source)}.py')
    listed = path.with_name(f'{path.stem}_split.csv')
    _check(path)
    data = find_data(source, str(listed), path_column, label_column)
    if data.split_rows and listed.exists():
        raise ConfigError(f"'{listed}' exists already, where the proposed split would stand; name another --out")
    look = look_at(data.train)
    plan = make_plan(data, look, models, image_size, epochs)
    verdict = verify(plan.built.weight_map)
    if not verdict.is_valid:
        raise ConfigError(f'--models {" ".join(plan.models)} have a map that is not valid: {verdict}')
    text = config_text(str(path), data, look, plan)
    if data.split_rows:
        write_whole(listed, lambda file: file.write(_as_csv(data).encode()))
    write_whole(path, lambda file: file.write(text.encode()))
    print('\n'.join(_summary(data, look, plan)))
    for written in (listed, path) if data.split_rows else (path,):
        print(f'written    {written}')
    print(f'next       motivation check {path}\n           motivation train {path}')
    return path


def _stem(source: str) -> str:
    """Return a name for the config that a later ``import`` of it would accept."""
    name = re.sub(r'\W+', '_', Path(source).resolve().stem) or 'images'
    return f'images_{name}' if name[0].isdigit() else name


def _check(path: Path) -> None:
    if path.suffix != '.py':
        raise ConfigError(f"--out must end with .py, got '{path}'")
    if path.exists():
        raise ConfigError(f"'{path}' exists already; remove it, or name another --out")
    if not path.parent.is_dir():
        raise ConfigError(f"--out '{path}' is in a folder that does not exist; create it, or name another")


def _as_csv(data: Data) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(('path', 'label', 'split'))
    writer.writerows(data.split_rows)
    return text.getvalue()


def _summary(data: Data, look: Look, plan: Plan) -> list[str]:
    """Return what was found and chosen, a line each."""
    parts = f'{len(data.train.chosen):,} to train on, {len(data.val.chosen):,} to validate on'
    if data.test is not data.val:
        parts += f', {len(data.test.chosen):,} to test on'
    classes = [
        f'{listed(name, beside_numbers=True)} {count:,}' for name, count in zip(data.classes, plan.counts, strict=True)
    ]
    shown = ', '.join(classes[:8]) + (', ...' if len(classes) > 8 else '')
    if plan.imbalance >= UNBALANCED:
        shown += f'; unbalanced, {plan.imbalance:.1f} to 1'
    base, motivated = (seconds * sum(plan.counts) * plan.epochs for seconds in plan.seconds)
    lines = [
        f'images     {parts}',
        f'classes    {len(data.classes):,}: {shown}',
        f'sizes      {look.size_text()}',
        f'modes      {look.mode_text()}{", all grey" if look.is_grey else ""}',
        f'models     {plan.models[0]} in {plan.models[1]} at {plan.image_size} px',
        f'map        {counted(len(plan.built.weight_map.pairs), "tensor")} shared, '
        f'{plan.built.weight_map.coverage:.1%} of the motivated model',
        f'schedule   {counted(plan.epochs, "epoch")} of {counted(plan.batches, "batch")} of {plan.batch_size}',
        f'duration   between about {_duration(base)} (the base model alone) and {_duration(base + motivated)} (the motivated '
        'model awake in every batch) of steps, on this processor as busy as it is now',
    ]
    if look.unreadable:
        lines.append(
            f'unreadable {len(look.unreadable):,} of {look.count + len(look.unreadable):,} images looked at, such as '
            f'{look.unreadable[0]!r}'
        )
    if plan.has_few:
        lines.append(
            f'warning    {counted(sum(plan.counts), "image")} to train on are too few to learn from: the config runs, and its '
            'results will say little; collect more, or begin with pretrained models (docs/pretrained.md)'
        )
    return lines + [f'note       {remark}' for remark in data.remarks]


def _duration(seconds: float) -> str:
    if seconds < 120:
        return counted(max(round(seconds), 1), 'second')
    return f'{seconds / 60:.0f} minutes' if seconds < 7200 else f'{seconds / 3600:.0f} hours'
