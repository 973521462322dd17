"""Look at images and write a config that trains on them, line by line.

    motivation init photos                # photos/train/<class>/ and photos/val/<class>/, or photos/<class>/
    motivation init labels.csv            # columns path and label, and maybe split

Without a split for validation one is proposed and written as a list beside the config. The images are never changed.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to a parser."""
    parser.add_argument('images', metavar='IMAGES', help='folder of images, or a CSV, TSV or JSON lines file of them')
    parser.add_argument(
        '--models', nargs=2, metavar=('BASE', 'MOTIVATED'), help='timm names; by default a pair for the image size'
    )
    parser.add_argument('--out', metavar='FILE', help='config to write; <images>.py in the current folder by default')
    parser.add_argument('--size', type=int, metavar='PIXELS', help='side of the images that the models get')
    parser.add_argument('--path-column', default='path', metavar='NAME', help="column of a list; 'path' by default")
    parser.add_argument('--label-column', default='label', metavar='NAME', help="column of a list; 'label' by default")


def run(args: argparse.Namespace) -> None:
    """Run the command with parsed arguments."""
    # Imported after check_stack(), which reports a broken installation in one sentence.
    from motivation.first_config.write import write_first_config

    write_first_config(
        args.images, args.out, args.models and tuple(args.models), args.size, args.path_column, args.label_column
    )
