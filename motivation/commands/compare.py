"""Compare policies and baselines over seeds.

Reports what the results support. Called again, it goes on where it was interrupted.
"""

import argparse
import signal
import sys
from pathlib import Path

from motivation.utils.command_line import Options

# The file that the processes of the runs execute.
SCRIPT = Path(__file__).parent / 'script/train.py'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to a parser."""
    parser.add_argument('config', help='config file that all arms share')
    parser.add_argument(
        '--arms',
        nargs='+',
        action='extend',
        metavar='NAME[:KEY=VALUE,...]',
        help="never, always, consecutive, random, matched, replay, distillation, 'config' for the policy of the "
        'config, any registered policy, or another config, with fields such as consecutive:drops=3; by default those '
        "of the config's field comparison, else never always consecutive random matched",
    )
    parser.add_argument(
        '--sweep',
        nargs='+',
        action='extend',
        metavar='FIELD=V1,V2,...',
        help='more arms: the policy of the config with every combination of these values of fields, such as '
        'motivation.policy.drops=1,2,3; other arms are then never and always by default',
    )
    parser.add_argument(
        '--seeds',
        nargs='+',
        action='extend',
        metavar='SEED|FIRST:END',
        help="seeds of every arm, and ranges without their end; by default the config's, else 0 1 2",
    )
    parser.add_argument(
        '--until',
        choices=('decided',),
        help="run one seed after the other until the claims of the config's field comparison are decided by a test that "
        'allows for looking after every seed; without it, all seeds',
    )
    parser.add_argument(
        '--jobs',
        type=int,
        help='number of runs at a time; by default 1, or one for each GPU, and with other executors than local all',
    )
    parser.add_argument(
        '--executor',
        metavar='NAME[:KEY=VALUE,...]',
        help='where runs are executed: local (default), slurm such as slurm:partition=gpu,gpus=1,hours=12, ray, or a '
        'registered one',
    )
    parser.add_argument('--epochs', type=int, help='number of epochs of each run, to which the schedule is scaled')
    parser.add_argument(
        '--metric', help='metric to compare, such as accuracy/top1; by default the first that the runs report'
    )
    parser.add_argument(
        '--html', action='store_true', help='also write compare.html, one page with tables, curves and switch timelines'
    )
    parser.add_argument(
        '--track',
        nargs='+',
        action='extend',
        default=[],
        choices=['mlflow', 'wandb'],
        help='also write each run to these trackers',
    )
    parser.add_argument(
        '--forecast', action='store_true', help='time the models, print the hours that the comparison takes, and end'
    )
    parser.add_argument('--work-dir', help='folder of all runs; work_dirs/compare_<config> by default')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=Options,
        metavar='KEY=VALUE',
        help='override fields of the config for every arm',
    )


def run(args: argparse.Namespace) -> None:
    """Run the command with parsed arguments."""
    # Imported after check_stack(), which reports a broken installation in one sentence.
    from motivation.comparison.compare import Comparison

    comparison = Comparison(
        config=args.config,
        work_dir=Path(args.work_dir or f'work_dirs/compare_{Path(args.config).stem}'),
        options=args.cfg_options,
        html=args.html,
        trackers=args.track,
        arms=args.arms,
        sweep=args.sweep,
        seeds=args.seeds,
        epochs=args.epochs,
        metric=args.metric,
        until=args.until,
        executor=args.executor,
    )
    if args.forecast:
        comparison.show(comparison.forecast(limit=args.jobs))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # raises SystemExit, so that the runs are terminated too
    try:
        comparison.run(SCRIPT, limit=args.jobs)
    except (KeyboardInterrupt, SystemExit) as end:
        print('\ninterrupted; run the same command again to continue', file=sys.stderr)
        sys.exit(end.code if isinstance(end, SystemExit) else 130)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.exit(0 if comparison.write() else 1)
