"""Evaluate the models of a checkpoint on the test images."""

import argparse

from motivation.errors import check_stack, clear_errors


def parse_args() -> argparse.Namespace:
    from motivation.cli import Options  # after check_stack()

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file that the checkpoint was trained with')
    parser.add_argument('checkpoint', help='path of an epoch_<n>.pth')
    parser.add_argument(
        '--models', nargs='+', choices=('base', 'motivated'), help='models to evaluate; both by default'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=Options, metavar='KEY=VALUE', help='override fields of the config'
    )
    return parser.parse_args()


def main() -> None:
    check_stack()
    args = parse_args()

    # Imported after check_stack(), which reports a broken installation in one sentence.
    from motivation.cli import prepare_test
    from motivation.registry import RUNNERS

    config = prepare_test(args.config, args.checkpoint, args.models, args.cfg_options)
    for name, value in RUNNERS.build(config).test().items():
        print(f'{name}: {value:.2f}')


if __name__ == '__main__':
    with clear_errors():
        main()
