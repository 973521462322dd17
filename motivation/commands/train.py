"""Train the two models of a config.

In several processes: torchrun --standalone --nproc-per-node 2 -m motivation train CONFIG
"""

import argparse

from motivation.errors import ConfigError
from motivation.utils.command_line import Options, say_if_watched


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to a parser."""
    parser.add_argument('config', help='config file, or an installed one: motivation::<folder>/<name>.py')
    parser.add_argument(
        '--work-dir',
        help='folder for all results; work_dirs/<config> by default, or <config>-2 and so on if it holds a run',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='latest',
        metavar='PATH',
        help='resume from a checkpoint: without PATH from the newest intact one in the work_dir; '
        "with 'auto' likewise, or start a new run if there is none",
    )
    parser.add_argument(
        '--allow-changes', action='store_true', help='resume although the config has changed, with the changed config'
    )
    parser.add_argument(
        '--check',
        action='store_true',
        help='build everything, run one batch of each model and a transfer, keep nothing',
    )
    parser.add_argument(
        '--picture',
        metavar='FILE',
        help='with --check: draw the images of a training batch as the models see them, in a .png file',
    )
    parser.add_argument(
        '--amp',
        nargs='?',
        const='bf16',
        choices=('bf16', 'fp16'),
        help='train and evaluate in mixed precision, bf16 by default; short for --cfg-options model.precision=bf16',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=Options,
        metavar='KEY=VALUE',
        help='override fields of the config, such as motivation.policy.drops=3',
    )


def run(args: argparse.Namespace) -> None:
    """Run the command with parsed arguments."""
    # Imported after check_stack(), which reports a broken installation in one sentence.
    from motivation.cli import prepare_check, prepare_training
    from motivation.registry import RUNNERS
    from motivation.utils.distributed import join_processes

    join_processes()
    options = args.cfg_options or {}
    if args.amp and options.setdefault('model.precision', args.amp) != args.amp:
        raise ConfigError(
            f'--amp {args.amp} and --cfg-options model.precision={options["model.precision"]} differ; give one'
        )
    if args.picture is not None and not args.check:
        raise ConfigError(f'--picture {args.picture!r} is drawn by --check; give both, or leave it out')
    for option, given in (
        ('--work-dir', args.work_dir is not None),
        ('--resume', args.resume is not None),
        ('--allow-changes', args.allow_changes),
    ):
        if args.check and given:
            raise ConfigError(f'{option} changes nothing with --check, which keeps nothing; give one of them')
    say_if_watched(f'{args.config}: building both models and opening the data ...')
    if args.check:
        config = prepare_check(args.config, options, args.picture)
    else:
        config = prepare_training(args.config, args.work_dir, args.resume, options, args.allow_changes)
    RUNNERS.build(config).train()
