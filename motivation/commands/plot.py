"""Plot when the motivated model was active in recorded runs.

The picture shows loss, spells, accuracy and streaks.
"""

import argparse
import os
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to a parser."""
    parser.add_argument(
        'runs', nargs='+', type=Path, metavar='RUN', help='work_dir of a run, which may still be training'
    )
    parser.add_argument(
        '--out',
        type=Path,
        help='picture to write (.png, .pdf or .svg); by default switches.png in the work_dir of the run, or in the '
        'folder that contains all of the runs',
    )


def shared_folder(runs: list[Path]) -> Path:
    """Return the folder of one run, or the innermost around several, relative to the current folder if inside it."""
    shared = Path(os.path.commonpath([run.resolve() for run in runs]))
    return shared.relative_to(Path.cwd()) if shared.is_relative_to(Path.cwd()) else shared


def run(args: argparse.Namespace) -> None:
    """Run the command with parsed arguments."""
    # Imported after check_stack(), which reports a broken installation in one sentence.
    from motivation.hooks.report_hook import read_recorded_run
    from motivation.report.switch_plot import draw_switches

    path = args.out or shared_folder(args.runs) / 'switches.png'
    draw_switches([read_recorded_run(run) for run in args.runs], path)
    print(f'written: {path}')
