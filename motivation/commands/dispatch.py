"""The command line: one parser for ``motivation COMMAND``, ``python -m motivation COMMAND`` and the files in tools/."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType

from motivation import __version__
from motivation.errors import check_stack, clear_errors
from motivation.utils.exit_signals import end_quietly

# Modules of this package, each with add_arguments(parser) and run(args), in the order in which a user needs them.
COMMANDS = (
    'init', 'check', 'train', 'test', 'predict', 'export', 'cascade', 'compare', 'map', 'flops', 'plot',
)  # fmt: skip

# Commands that a signal ends with one line while they start; training then handles signals by itself.
_TRAINING = ('check', 'train')

_EPILOG = """\
Configs are files, or those that are installed: motivation::digits/resnet8_resnet20_consecutive.py.
'motivation COMMAND --help' has the options of a command.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the command line names.

    Args:
        arguments: The command and its arguments; those of this process by default.
    """
    parser = argparse.ArgumentParser(
        'motivation',
        description='Train a small and a large image model in one run, and use both.',
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'motivation {__version__}')
    commands = parser.add_subparsers(dest='command', metavar='COMMAND', title='commands', required=True)
    for name in COMMANDS:
        command = _module(name)
        about = command.__doc__ or ''
        own = commands.add_parser(
            name,
            help=about.partition('\n')[0].rstrip('.'),
            description=about,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(own)
    given = list(sys.argv[1:] if arguments is None else arguments)
    with clear_errors():
        _run(parser, given[0] if given else '', given)


def run_command(name: str) -> None:
    """Run one command with the arguments of this process, as a file in tools/ does.

    Args:
        name: One of ``COMMANDS``.
    """
    command = _module(name)
    parser = argparse.ArgumentParser(description=command.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_arguments(parser)
    with clear_errors():
        _run(parser, name, sys.argv[1:])


def _module(name: str) -> ModuleType:
    return importlib.import_module(f'motivation.commands.{name}')


def _run(parser: argparse.ArgumentParser, name: str, arguments: Sequence[str]) -> None:
    if name in _TRAINING:
        end_quietly()
    args = parser.parse_args(arguments)
    check_stack()
    _module(name).run(args)
