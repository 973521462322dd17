"""Print the MACs of two models and the compute of a planned run.

Give a config, or the timm names of the base and the motivated model. MACs are the multiply-accumulates of
convolutions, linear layers, matrix products and attention; FLOPs = 2 x MACs.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from motivation.errors import ConfigError
from motivation.utils.command_line import Options, check_models


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to a parser."""
    parser.add_argument(
        'models', nargs='+', help='a config file, or the timm names of the base and the motivated model'
    )
    parser.add_argument('--detail', action='store_true', help='also print MACs by stage and by operator')
    parser.add_argument(
        '--input',
        nargs=3,
        type=int,
        metavar=('C', 'H', 'W'),
        help='shape of an image, with timm names; by default the larger of the two default shapes',
    )
    parser.add_argument(
        '--images', type=int, help='number of images in the planned run; by default that of the config, or 1'
    )
    parser.add_argument(
        '--batch-size', type=int, help='batch size of the planned run; by default that of the config, or 1'
    )
    parser.add_argument('--json', metavar='FILE', help='also write the results as JSON')
    parser.add_argument(
        '--cfg-options', nargs='+', action=Options, metavar='KEY=VALUE', help='override fields of the config'
    )


def build_pair(args: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of :func:`~motivation.report.flops_table.describe_pair`."""
    # Imported after check_stack(), which reports a broken installation in one sentence.
    import torch

    from motivation.config.build import build
    from motivation.config.checks import check_config
    from motivation.config.read import load_config
    from motivation.datasets import collate_of, first_batch
    from motivation.registry import DATASETS, MODELS
    from motivation.structures import MODEL_NAMES
    from motivation.utils.training_parts import TrainingParts

    if len(args.models) == 1:
        config = load_config(args.models[0], args.cfg_options or {})
        check_config(config)
        dataset = build(DATASETS, config.train_dataloader.dataset, 'train_dataloader.dataset')
        return {
            'models': {name: build(MODELS, config.model[name], f'model.{name}') for name in MODEL_NAMES},
            'sample': first_batch(dataset, collate_fn=collate_of(config.train_dataloader)),
            'images': args.images
            or images_per_epoch(config.train_dataloader, len(dataset)) * config.train_cfg.max_epochs,
            'batch_size': args.batch_size or config.train_dataloader.batch_size,
            'distillation': config.model.get('distillation') is not None,
            'parts': TrainingParts(config.train_cfg.get('parts')),
        }
    models = {
        name: MODELS.build(dict(type='TimmClassifier', model_name=model, num_classes=1000))
        for name, model in zip(MODEL_NAMES, args.models, strict=True)
    }
    size = args.input or max(list(model.input_size) for model in models.values())
    return {
        'models': models,
        'sample': {'inputs': torch.zeros(1, *size, dtype=torch.uint8), 'targets': torch.zeros(1, dtype=torch.long)},
        'images': args.images or 1,
        'batch_size': args.batch_size or 1,
    }


def images_per_epoch(loader: Any, images: int) -> int:
    """Return the number of images that a data loader draws in an epoch from a dataset of ``images`` images."""
    if loader.get('drop_last'):
        images -= images % loader.batch_size
    batches = loader.get('num_batch_per_epoch')
    return images if batches is None else min(images, batches * loader.batch_size)


def check_args(args: argparse.Namespace) -> None:
    """Check the command-line values before anything is built."""
    if args.json and not Path(args.json).parent.is_dir():
        raise ConfigError(f'--json {args.json!r} is in a folder that does not exist; create it, or name another')
    if args.json and Path(args.json).is_dir():
        raise ConfigError(f'--json {args.json!r} is a folder; name a file in it')
    for option, value in (('--images', args.images), ('--batch-size', args.batch_size)):
        if value is not None and value < 1:
            raise ConfigError(f'{option} must be at least 1, got {value}')
    if args.input and len(args.models) == 1:
        raise ConfigError('--input is for timm names only; leave it out, the dataset of the config sets the image size')
    if args.input and min(args.input) < 1:
        raise ConfigError(f'--input is {" ".join(map(str, args.input))}; channels, height and width must be at least 1')
    if args.input and args.input[0] != 3:
        raise ConfigError(
            f'--input has {args.input[0]} channels, but models given by timm name have 3; give a config with in_chans'
        )
    if args.cfg_options and len(args.models) == 2:
        raise ConfigError('--cfg-options is for a config only; leave it out, or give a config')


def run(args: argparse.Namespace) -> None:
    """Run the command with parsed arguments."""
    check_models(args.models)
    # Imported after check_stack(), which reports a broken installation in one sentence.
    from rich.console import Console

    from motivation.report.flops_table import describe_pair, pair_tables

    check_args(args)
    pair = describe_pair(**build_pair(args))
    console = Console(highlight=False)
    for table in pair_tables(pair, args.detail):
        console.print(table)
    if pair['largest_saving'] < 1:
        console.print(
            'this pair saves nothing: the base model costs more than the motivated model; give the smaller one first'
        )
    else:
        console.print(
            f'largest saving of this pair: {pair["largest_saving"]:.2f} x, if the motivated model is never active'
        )
    if args.json:
        Path(args.json).write_text(json.dumps(pair, indent=1) + '\n')
        console.print(f'written: {args.json}')
