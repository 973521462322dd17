"""Print and verify the weight map of a config or two timm models.

Each line shows a base tensor and its shape, the motivated tensor that contains it, and which entries of that
it occupies. The exit status is 1 if the map is not valid, and 2 if there is no map.

    motivation map motivation::cifar10/resnet8_resnet20_consecutive.py
    motivation map vit_tiny_patch16_224 vit_small_patch16_224 --json my_map.json
    motivation map resnet18 resnet34 --layer-decay 0.75
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from motivation.errors import ConfigError, near_matches
from motivation.utils.command_line import Options, check_models


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to a parser."""
    parser.add_argument(
        'models', nargs='+', help='a config file, or the timm names of the base and the motivated model'
    )
    parser.add_argument(
        '--json', metavar='FILE', help="also write the map, for weight_map=dict(type='ExplicitMap', file=...)"
    )
    parser.add_argument(
        '--layer-decay',
        type=float,
        metavar='FACTOR',
        help='print instead of the map by which factor layer-wise learning-rate decay multiplies the rate of each tensor',
    )
    parser.add_argument('--quiet', action='store_true', help='do not print the table of tensors')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=Options,
        metavar='KEY=VALUE',
        help='override fields of the config; with timm names, arguments of AutoMap, such as placement=spread, and '
        'of the two models, such as base.img_size=32',
    )


def model_config(models: list[str], options: dict[str, Any]) -> dict[str, Any]:
    """Return the ``model`` field of a config, or a model config for two timm names."""
    # Imported after check_stack(), which reports a broken installation in one sentence.
    from motivation.config.read import load_config

    if len(models) == 1:
        config = load_config(models[0], options)
        if not config.get('model'):
            raise ConfigError(f"config {models[0]!r} has no 'model'")
        return config.model.to_dict()
    parts: dict[str, Any] = {
        name: dict(type='TimmClassifier', model_name=model, num_classes=10)
        for name, model in zip(('base', 'motivated'), models, strict=True)
    }
    parts['weight_map'] = dict(type='AutoMap')
    for key, value in options.items():
        owner, _, field = key.rpartition('.')
        if owner not in ('', *parts):
            raise ConfigError(f'--cfg-options {key} is not a field; {near_matches(owner, parts)}')
        parts[owner or 'weight_map'][field] = value
    return dict(type='DualModel', **parts)


@contextmanager
def shown_progress() -> Iterator[Callable[[str], None] | None]:
    """Show the step of the verification on a terminal, and yield a function that updates it; ``None`` without one."""
    if not sys.stderr.isatty():
        yield None
        return
    # Imported here because it is needed on a terminal only.
    from rich.console import Console

    with Console(stderr=True).status('verifying the map') as status:
        yield lambda what: status.update(f'verifying the map: {what}')


def run(args: argparse.Namespace) -> None:
    """Run the command with parsed arguments."""
    check_models(args.models)
    # Imported after check_stack(), which reports a broken installation in one sentence.
    from motivation.config.build import build
    from motivation.config.components import check_components
    from motivation.registry import MODELS
    from motivation.weight_maps import verify
    from motivation.weight_maps.layers import table_of_scales
    from motivation.weight_maps.summary import describe_map, table_of_pairs

    config = model_config(args.models, args.cfg_options or {})
    check_components({'model': config})
    if args.json and not Path(args.json).parent.is_dir():
        raise ConfigError(f'--json {args.json!r} is in a folder that does not exist; create it, or name another')
    if args.layer_decay is not None and not 0 < args.layer_decay <= 1:
        raise ConfigError(f'--layer-decay must be above 0 and at most 1, got {args.layer_decay:g}; write 0.75')
    weight_map = build(MODELS, config, 'model').weight_map
    if args.layer_decay is not None:
        print('\n'.join(table_of_scales(weight_map, args.layer_decay)))
        return
    with shown_progress() as progress:
        verdict = verify(weight_map, progress=progress)
    lines = [] if args.quiet else [*table_of_pairs(weight_map), '']
    print('\n'.join([*lines, *describe_map(weight_map), f'verdict    {verdict}']))
    if args.json:
        weight_map.save(args.json)
        print(f'written    {args.json}')
    sys.exit(0 if verdict.is_valid else 1)
