"""Train base and motivated model together as a config says; with torchrun in several processes."""

import argparse

from motivation.errors import check_stack, clear_errors
from motivation.utils.exit_signals import end_quietly


def parse_args() -> argparse.Namespace:
    from motivation.cli import Options

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir', help='folder for all results; by default work_dirs/<config>, or <config>-2 and so on if taken'
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='latest',
        metavar='PATH',
        help='continue from a checkpoint; without PATH from the newest whole one of the work_dir; '
        "with 'auto' likewise, or begin if there is none",
    )
    parser.add_argument(
        '--allow-changes', action='store_true', help='resume though the config is another, as the config now says'
    )
    parser.add_argument(
        '--check', action='store_true', help='build everything, run a batch of each model and a transfer, keep nothing'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=Options,
        metavar='KEY=VALUE',
        help='override fields of the config, such as motivation.policy.drops=3',
    )
    return parser.parse_args()


def main() -> None:
    end_quietly()
    check_stack()
    args = parse_args()

    from motivation.cli import prepare_check, prepare_training
    from motivation.registry import RUNNERS
    from motivation.utils.distributed import join_processes

    join_processes()
    if args.check:
        config = prepare_check(args.config, args.cfg_options)
    else:
        config = prepare_training(args.config, args.work_dir, args.resume, args.cfg_options, args.allow_changes)
    RUNNERS.build(config).train()


if __name__ == '__main__':
    with clear_errors():
        main()
