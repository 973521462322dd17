"""Draw when recorded runs woke the motivated model: loss, spells, accuracy, streaks."""

import argparse
from pathlib import Path

from motivation.errors import check_stack, clear_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('runs', nargs='+', type=Path, metavar='RUN', help='work_dir of a run, also while it trains')
    parser.add_argument('--out', type=Path, default=Path('switches.png'), help='the picture written, a png, pdf or svg')
    return parser.parse_args()


def main() -> None:
    check_stack()
    args = parse_args()

    from motivation.analysis.switch_plot import draw_switches

    draw_switches(args.runs, args.out)
    print(f'written: {args.out}')


if __name__ == '__main__':
    with clear_errors():
        main()
