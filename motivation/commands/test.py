"""Evaluate the models of a checkpoint on the test images."""

import argparse

from motivation.utils.command_line import Options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to a parser."""
    parser.add_argument('config', help='config file that the checkpoint was trained with')
    parser.add_argument('checkpoint', help='path of an epoch_<n>.pth, or a work_dir for its newest')
    parser.add_argument(
        '--models',
        nargs='+',
        action='extend',
        choices=('base', 'motivated'),
        help='models to evaluate; both by default',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=Options, metavar='KEY=VALUE', help='override fields of the config'
    )


def run(args: argparse.Namespace) -> None:
    """Run the command with parsed arguments."""
    # Imported after check_stack(), which reports a broken installation in one sentence.
    from motivation.cli import prepare_test
    from motivation.registry import RUNNERS
    from motivation.report.metric_units import metric_lines

    config = prepare_test(args.config, args.checkpoint, args.models, args.cfg_options)
    print('\n'.join(metric_lines(RUNNERS.build(config).test())))
