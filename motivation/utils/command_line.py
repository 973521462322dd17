"""Parsing the options of the commands; imports nothing heavy, so that ``--help`` answers at once."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from motivation.errors import ConfigError, check_stack


def say_if_watched(text: str) -> None:
    """Print a line on stderr where a person waits: on a terminal, and of several processes in the first."""
    if sys.stderr.isatty() and os.environ.get('RANK', '0') == '0':
        print(text, file=sys.stderr)


class Options(argparse.Action):
    """Reads ``KEY=VALUE ...`` into a dict, with the syntax of MMEngine's ``DictAction``."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Parse the values of one occurrence of the option.

        Raises:
            ConfigError: The values do not have that form, or MMEngine cannot be imported.
        """
        check_stack()
        # Imported where it is needed, because it imports torch, which takes seconds.
        from mmengine.config import DictAction

        try:
            DictAction([], self.dest)(parser, namespace, values, option_string)
        except Exception as error:  # MMEngine's parser may raise any exception
            raise ConfigError('--cfg-options takes KEY=VALUE ..., such as motivation.policy.drops=3') from error


def at_least(least: int) -> Callable[[str], int]:
    """Return a ``type`` for argparse: a whole number that is not below ``least``."""

    def convert(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f'must be a whole number of at least {least}, got {text!r}')
        return number

    return convert


def check_models(models: Sequence[str]) -> None:
    """Check that the arguments of a command are one config or two timm names.

    Raises:
        ConfigError: They are something else.
    """
    if len(models) > 2 or (len(models) == 1) != models[0].endswith('.py'):
        raise ConfigError(f'give one config file, which ends with .py, or two timm names, not {" ".join(models)!r}')
