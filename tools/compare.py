"""Compare when the motivated model is woken: arms over seeds, with what the results support."""

import argparse
import signal
import sys
from pathlib import Path

from motivation.errors import check_stack, clear_errors


def parse_args() -> argparse.Namespace:
    from motivation.cli import Options

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file that all arms share')
    parser.add_argument(
        '--arms',
        nargs='+',
        default=['never', 'always', 'consecutive', 'random', 'matched'],
        metavar='NAME[:KEY=VALUE,...]',
        help="never, always, consecutive, random, matched, replay, distillation, 'config' for the config's own policy, "
        'any registered policy, or another config; such as consecutive:drops=3',
    )
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--jobs', type=int, default=1, help='runs at a time')
    parser.add_argument('--epochs', type=int, help='epochs of each run, the schedule scaled to them')
    parser.add_argument('--metric', help='such as accuracy/top1; by default the first that the runs report')
    parser.add_argument('--work-dir', help='folder of all runs; by default work_dirs/compare_<config>')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=Options,
        metavar='KEY=VALUE',
        help='override fields of the config for every arm',
    )
    return parser.parse_args()


def main() -> None:
    check_stack()
    args = parse_args()

    from motivation.comparison.compare import Comparison

    comparison = Comparison(
        config=args.config,
        arms=args.arms,
        seeds=args.seeds,
        work_dir=Path(args.work_dir or f'work_dirs/compare_{Path(args.config).stem}'),
        epochs=args.epochs,
        options=args.cfg_options,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the runs are ended too
    try:
        comparison.run(Path(__file__).with_name('train.py'), limit=args.jobs)
    except KeyboardInterrupt:
        print('\ninterrupted; the same command goes on where this one stopped', file=sys.stderr)
        sys.exit(130)
    sys.exit(0 if comparison.write(args.metric) else 1)


if __name__ == '__main__':
    with clear_errors():
        main()
