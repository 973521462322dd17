"""What two models cost: parameters, MACs, and the training compute of a planned run.

Give a config, or the timm names of base and motivated model. MACs are the multiply-accumulates of
convolutions, linear layers, matrix products and attention; FLOPs = 2 x MACs.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from motivation.errors import ConfigError, check_stack, clear_errors


def parse_args() -> argparse.Namespace:
    from motivation.engine.launch import Options

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('models', nargs='+', help='a config file, or the timm names of base and motivated model')
    parser.add_argument('--detail', action='store_true', help='MACs by stage and by operator')
    parser.add_argument(
        '--input',
        nargs=3,
        type=int,
        metavar=('C', 'H', 'W'),
        help='shape of an image, with timm names; by default the larger of their own',
    )
    parser.add_argument('--images', type=int, help="images of the planned run; by default the config's, or one")
    parser.add_argument('--json', metavar='FILE', help='write the same as data')
    parser.add_argument(
        '--cfg-options', nargs='+', action=Options, metavar='KEY=VALUE', help='override fields of the config'
    )
    args = parser.parse_args()
    if len(args.models) > 2 or (len(args.models) == 1) != args.models[0].endswith('.py'):
        parser.error('give one config file, or two timm names')
    return args


def build_pair(
    models: list[str], options: dict[str, Any], size: list[int] | None
) -> tuple[dict[Any, Any], dict[str, Any], int]:
    """Both models, one image for them, and the images of the planned run."""
    import torch
    from torch.utils.data import default_collate

    from motivation.engine.config import check_config, load_config
    from motivation.models import MODEL_NAMES
    from motivation.registry import DATASETS, MODELS

    if len(models) == 1:
        config = load_config(models[0], options)
        check_config(config)
        configs = {name: config.model[name] for name in MODEL_NAMES}
        dataset = DATASETS.build(config.train_dataloader.dataset)
        sample, images = default_collate([dataset[0]]), len(dataset) * config.train_cfg.max_epochs
    else:
        configs = {
            name: dict(type='TimmClassifier', model_name=model, num_classes=1000)
            for name, model in zip(MODEL_NAMES, models, strict=True)
        }
    built = {name: MODELS.build(model) for name, model in configs.items()}
    if len(models) == 2:
        size = size or max(list(model.input_size) for model in built.values())
        sample = {'inputs': torch.zeros(1, *size, dtype=torch.uint8), 'targets': torch.zeros(1, dtype=torch.long)}
        images = 1
    return built, sample, images


def main() -> None:
    check_stack()
    args = parse_args()

    from rich.console import Console

    from motivation.analysis.flops_table import describe_pair, pair_tables

    if args.json and not Path(args.json).parent.is_dir():
        raise ConfigError(f'--json {args.json!r} is in a folder that does not exist; make it, or name another')
    if args.images is not None and args.images < 1:
        raise ConfigError(f'--images is {args.images}; it must be at least 1')
    models, sample, images = build_pair(args.models, args.cfg_options or {}, args.input)
    pair = describe_pair(models, sample, args.images or images)
    console = Console(highlight=False)
    for table in pair_tables(pair, args.detail):
        console.print(table)
    console.print(
        f'largest saving of this pair: {pair["largest_saving"]:.2f} x, by a run that never wakes the motivated model'
    )
    if args.json:
        Path(args.json).write_text(json.dumps(pair, indent=1) + '\n')
        console.print(f'written: {args.json}')


if __name__ == '__main__':
    with clear_errors():
        main()
