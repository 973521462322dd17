"""Let the base model answer where it is sure: accuracy and MACs.

The motivated model of the run answers otherwise. Thresholds are chosen on one half of the validation data and judged
on the other. Writes cascade.json, which motivation.export.cascade.Cascade.load reads, cascade.md and cascade.png.
"""

import argparse
from pathlib import Path

from motivation.utils.command_line import Options, at_least


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to a parser."""
    parser.add_argument('run', type=Path, metavar='RUN', help='work_dir of a finished run, or its epoch_<n>.pth')
    parser.add_argument(
        '--confidence',
        choices=('probability', 'margin', 'entropy'),
        default='probability',
        help='of the base model: its largest probability (default), the two largest apart, or 1 minus normalised entropy',
    )
    parser.add_argument('--out', type=Path, metavar='FOLDER', help='folder of the three files; RUN by default')
    parser.add_argument(
        '--seed', type=at_least(0), default=0, help='of the halves of the validation data; 0 by default'
    )
    parser.add_argument('--overwrite', action='store_true', help='replace the files of an earlier call')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=Options,
        metavar='KEY=VALUE',
        help="override fields of the run's config, such as the place of data that have moved",
    )


def run(args: argparse.Namespace) -> None:
    """Run the command with parsed arguments."""
    # Imported after check_stack(), which reports a broken installation in one sentence.
    from rich.console import Console

    from motivation.checkpoint_models import open_run
    from motivation.export.cascade_study import study_cascade
    from motivation.report.cascade_files import check_folder, write_cascade
    from motivation.report.cascade_table import curve_grid, explanation, main_grid, sentences

    run = open_run(args.run, args.cfg_options)
    folder = args.out or run.folder
    check_folder(folder, args.overwrite)
    console = Console(highlight=False)
    with console.status('running both models on the validation data'):
        result, latency, about = study_cascade(run, args.confidence, args.seed)
    for grid in (main_grid(result, latency), curve_grid(result)):
        console.print(grid.rich())
    for sentence in (*sentences(result, latency), explanation(result)):
        console.print(sentence, soft_wrap=True)
    about['options'] = args.cfg_options or {}
    for path in write_cascade(folder, result, latency, about):
        console.print(f'written: {path}', soft_wrap=True)
