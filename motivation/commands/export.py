"""Export trained models to other formats, and measure each file.

The files run without this framework. One that does not run, or disagrees with PyTorch, is renamed <file>.refused, and
the exit status is 1.
"""

import argparse
import sys
from pathlib import Path

from motivation.utils.command_line import Options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to a parser."""
    parser.add_argument('run', help='work_dir of a run, a base.pth or motivated.pth in it, or an epoch_<n>.pth')
    parser.add_argument(
        '--models',
        nargs='+',
        action='extend',
        metavar='MODEL',
        help='base, motivated, base_ema, best_base, ...; base and motivated by default',
    )
    parser.add_argument(
        '--formats',
        nargs='+',
        action='extend',
        metavar='FORMAT',
        help='timm, torch, onnx, executorch, ...; by default all that are installed',
    )
    parser.add_argument('--int8', action='store_true', help='also write quantised files, where a format has them')
    parser.add_argument(
        '--raw-input', action='store_true', help='files take uint8 images and normalise them themselves'
    )
    parser.add_argument(
        '--out', metavar='FOLDER', help="folder of the results; 'exported' in that of the run by default"
    )
    parser.add_argument('--overwrite', action='store_true', help='replace files that are there')
    parser.add_argument(
        '--push', metavar='OWNER/NAME', help='upload to the Hugging Face hub, several models to OWNER/NAME-<model>'
    )
    parser.add_argument('--images', type=int, help='number of validation images to compare on; all by default')
    parser.add_argument(
        '--calibration-images', type=int, help='number of training images that calibrate quantised files'
    )
    parser.add_argument('--largest-drop', type=float, help='points of accuracy that a quantised file may lose')
    parser.add_argument(
        '--cfg-options', nargs='+', action=Options, metavar='KEY=VALUE', help="override fields of the run's config"
    )


def run(args: argparse.Namespace) -> None:
    """Run the command with parsed arguments."""
    # Imported after check_stack(), which reports a broken installation in one sentence.
    from mmengine.logging import MMLogger
    from rich.console import Console

    from motivation.checkpoint_models import open_run
    from motivation.export.export_run import FOLDER, ExportSettings, export_run
    from motivation.export.formats import choose_formats
    from motivation.export.hub import check_hub, push
    from motivation.export.origin import outdated_files
    from motivation.export.parity_table import parity_table
    from motivation.utils.logs import warn_on_terminal
    from motivation.utils.new_folders import require_writable

    warn_on_terminal(MMLogger.get_current_instance())
    console = Console(highlight=False, soft_wrap=True)
    given = {name: getattr(args, name) for name in ('images', 'calibration_images', 'largest_drop')}
    settings = ExportSettings(
        raw_input=args.raw_input,
        overwrite=args.overwrite,
        **{name: value for name, value in given.items() if value is not None},
    )
    if args.push:
        check_hub(args.push)
    run = open_run(args.run, args.cfg_options)  # whose config may import formats
    formats, left_out = choose_formats(args.formats, args.int8)
    for sentence in left_out:
        console.print(sentence, markup=False)
    models = args.models or [name for name in ('base', 'motivated') if name in run.models] or list(run.models)
    folder = Path(args.out) if args.out else run.folder / FOLDER
    require_writable(folder, 'the folder', '--out', keep=False)
    files = export_run(run, models, formats, folder, settings, lambda message: console.print(message, markup=False))
    console.print(parity_table(files))
    for name, old in outdated_files(folder, run.models).items():
        console.print(f'{name}: of other weights, from an earlier export: {", ".join(old)}; replace with --overwrite')
    console.print(f'written: {folder}', markup=False)
    if any(file.problem is not None for file in files):
        sys.exit(1)
    if args.push:
        for address in push(folder, list(dict.fromkeys(file.model for file in files)), args.push):
            console.print(f'pushed: {address}', markup=False)
