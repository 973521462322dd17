"""Build all of a run and try a batch of each model; keep nothing.

Keeps nothing but the picture asked for. Looks over the data, compares the two counts of compute, and
copies the weights once along the map.
"""

import argparse

from motivation.utils.command_line import Options, say_if_watched


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to a parser."""
    parser.add_argument('config', help='config file, or an installed one: motivation::<folder>/<name>.py')
    parser.add_argument(
        '--picture', metavar='FILE', help='draw the images of a training batch as the models see them, in a .png file'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=Options, metavar='KEY=VALUE', help='override fields of the config'
    )


def run(args: argparse.Namespace) -> None:
    """Run the command with parsed arguments."""
    # Imported after check_stack(), which reports a broken installation in one sentence.
    from motivation.cli import prepare_check
    from motivation.registry import RUNNERS
    from motivation.utils.distributed import join_processes

    join_processes()
    say_if_watched(f'{args.config}: building both models and opening the data ...')
    RUNNERS.build(prepare_check(args.config, args.cfg_options, args.picture)).train()
