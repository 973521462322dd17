"""The errors that are reported to the user in one sentence.

This module imports nothing heavy, so that it can report packages that cannot be imported.
"""

import atexit
import difflib
import errno
import gc
import importlib
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Errors of the disk and not of the program.
DISK_ERRORS = tuple(getattr(errno, name) for name in ('ENOSPC', 'EDQUOT', 'EROFS', 'EIO') if hasattr(errno, name))


class ConfigError(ValueError):
    """An invalid input of the user; the message names the field, the value and how to fix it.

    The command-line tools print it without a traceback and exit with status 2.
    """


class ArgumentError(ConfigError):
    """A mistake in an argument of a component, which does not know where in a config it stands.

    Args:
        argument: The name of the argument, or a dotted path below it. Without ``problem``, the whole sentence.
        problem: What is wrong with it: ``'must be at least 1, got 0'``.
    """

    def __init__(self, argument: str, problem: str = '') -> None:
        super().__init__(f'{argument} {problem}'.rstrip())
        self.argument = argument
        self.problem = problem


class BuildError(ConfigError):
    """A component that cannot be built; where in a config it stands is found by the part that it was built from.

    Args:
        error: What it raised.
        node: The config that it was built from.
        component: Its class or function, if there is one of that name.
    """

    def __init__(self, error: Exception, node: Any = None, component: Any = None) -> None:
        refused = isinstance(error, ConfigError)
        what = shortened(node) if node else 'the config'
        super().__init__(str(error) if refused else f'{what} cannot be built: {reason(error)}')
        self.error = error
        self.node = node
        self.component = component


class TrainingError(RuntimeError):
    """A failure of training with a valid config; the message says what failed, where, and how to fix it.

    The command-line tools print it without a traceback and exit with status 1.
    """


def near_matches(name: str, known: Iterable[str]) -> str:
    """Return a clause that suggests names similar to a misspelt one, or lists the known names if none is similar.

    Args:
        name: The name that the user wrote.
        known: All valid names.
    """
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return 'did you mean ' + ' or '.join(repr(match) for match in close) + '?'
    if not names:
        return 'there is none'
    shown = ', '.join(names[:20])
    return f'there is {shown}' + (f' and {len(names) - 20} more' if len(names) > 20 else '')


def one_line(text: str, length: int) -> str:
    """Return a text on one line, cut to ``length`` characters."""
    line = ' '.join(text.split())
    return line if len(line) <= length else f'{line[: length - 4]} ...'


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is 1: ``'1 file'``, ``'1,000 images'``, ``'2 batches'``."""
    plural = f'{noun}es' if noun.endswith(('tch', 's')) else f'{noun}s'
    return f'{count:,} {noun if count == 1 else plural}'


def listed(name: str, beside_numbers: bool = False) -> str:
    """Return a name as it stands among others, joined by commas: in quotes if it would not be seen where it ends.

    Args:
        name: The name.
        beside_numbers: Whether a number follows each name, so that digits at its ends need quotes as well.
    """
    ends = name[:1] + name[-1:]
    unclear = not name or ',' in name or ends != ends.strip() or (beside_numbers and any(map(str.isdigit, ends)))
    return repr(name) if unclear else name


def shortened(value: Any) -> str:
    """Return the ``repr`` of a value on one line, cut to 160 characters."""
    return one_line(repr(value), 160)


def reason(error: Exception) -> str:
    """One line about an error, with the file and line of a plugin that raised it."""
    installed = (
        str(Path(__file__).parent),
        *(sysconfig.get_path(name) for name in ('stdlib', 'platstdlib', 'purelib')),
    )
    own = [
        frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith((*installed, '<'))
    ]
    place = f' ({Path(own[-1].filename).name}, line {own[-1].lineno})' if own else ''
    message = one_line(str(error), 240)
    return f'{type(error).__name__}: {message}{place}' if message else f'{type(error).__name__}{place}'


def check_stack() -> None:
    """Check that the packages that a partial installation is known to break can be imported.

    Raises:
        ConfigError: A package cannot be imported; the message says which one and how to fix the installation.
    """
    remedies = {
        'torch': "install it with 'pip install torch torchvision' in a fresh virtual environment",
        'torchvision': 'it was built for another torch than the installed one; install both together with '
        "'pip install --force-reinstall torch torchvision' in a fresh virtual environment",
        'cv2': "run 'pip install --force-reinstall opencv-python-headless', which needs no desktop libraries",
        'mmengine': "install it with 'pip install mmengine-lite'",
    }
    atexit.register(gc.freeze)  # the last collection of a program takes a second for torch's objects, and frees nothing
    with _no_collection():
        for module, remedy in remedies.items():
            try:
                importlib.import_module(module)
            except Exception as error:  # a broken binary raises ImportError, RuntimeError or OSError
                reason = ' '.join(str(error).split())
                raise ConfigError(f'{module} cannot be imported ({reason}); {remedy}') from error


@contextmanager
def _no_collection() -> Iterator[None]:
    """Disable garbage collection, which takes a tenth of the time of large imports and finds nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def clear_errors() -> Iterator[None]:
    """Report our own errors and those of the disk as one line on stderr, and exit with status 2 or 1.

    Other errors are raised unchanged.
    """
    try:
        yield
    except (ConfigError, TrainingError) as error:
        sentence = str(error)
        if sentence.startswith('Caught '):  # torch puts a traceback before the message of a data-loader worker
            sentence = sentence.strip().rpartition('\n')[2].partition(': ')[2]
        print(f'error: {sentence}', file=sys.stderr)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        what = repr(str(error.filename)) if error.filename else 'a file'
        print(f'error: {what} cannot be written ({error.strerror}); make room, or name another folder', file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print('stopped at once', file=sys.stderr)
        sys.exit(130)
