"""Look at images and write a config that trains on them, line by line.

    motivation init photos                # photos/train/<class>/ and photos/val/<class>/, or photos/<class>/
    motivation init labels.csv            # columns path and label, and maybe split

Without a split for validation one is proposed and written as a list beside the config. The images are never changed.
"""

import argparse

from motivation.utils.command_line import at_least, say_if_watched


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to a parser."""
    parser.add_argument('images', metavar='IMAGES', help='folder of images, or a CSV, TSV or JSON lines file of them')
    parser.add_argument(
        '--models', nargs=2, metavar=('BASE', 'MOTIVATED'), help='timm names; by default a pair for the image size'
    )
    parser.add_argument('--out', metavar='FILE', help='config to write; <images>.py in the current folder by default')
    parser.add_argument('--size', type=at_least(8), metavar='PIXELS', help='side of the images that the models get')
    parser.add_argument(
        '--epochs', type=at_least(1), metavar='N', help='length of the training; by default about 3,000 batches'
    )
    parser.add_argument('--path-column', default='path', metavar='NAME', help="column of a list; 'path' by default")
    parser.add_argument('--label-column', default='label', metavar='NAME', help="column of a list; 'label' by default")


def run(args: argparse.Namespace) -> None:
    """Run the command with parsed arguments."""
    # Imported after check_stack(), which reports a broken installation in one sentence.
    from motivation.first_config.write import write_first_config

    say_if_watched(f'{args.images}: finding and looking at images, then building and timing both models ...')
    write_first_config(
        args.images,
        args.out,
        models=args.models and tuple(args.models),
        image_size=args.size,
        epochs=args.epochs,
        path_column=args.path_column,
        label_column=args.label_column,
    )
