"""What the user got wrong, said in one sentence.

This module imports nothing heavy, so that it can report a stack that does not import.
"""

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

# What is wrong with the disk and not with the program.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class ConfigError(ValueError):
    """A mistake in what the user gave: names the field, the value and the way out.

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
    """What stopped training though the config was right: says what, where, and the way out.

    The command-line tools print it without a traceback and exit with status 1.
    """


def near_matches(name: str, known: Iterable[str]) -> str:
    """A clause that helps after a misspelt name: its near matches, or everything there is.

    Args:
        name: What the user wrote.
        known: Every name that would have been right.
    """
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return 'did you mean ' + ' or '.join(repr(match) for match in close) + '?'
    shown = ', '.join(names[:20]) or 'nothing'
    return f'there is {shown}' + (f' and {len(names) - 20} more' if len(names) > 20 else '')


def one_line(text: str, length: int) -> str:
    """A text without its line breaks, cut to so many characters."""
    line = ' '.join(text.split())
    return line if len(line) <= length else f'{line[: length - 4]} ...'


def shortened(value: Any) -> str:
    """What a value looks like, for a sentence; a long one is cut."""
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
    """Import the parts of the stack that are known to break on a half-installed machine.

    Raises:
        ConfigError: A part does not import; the sentence says which and how to mend it.
    """
    remedies = {
        'torch': "'pip install torch torchvision' in a fresh virtual environment",
        'torchvision': 'it belongs to another torch than the installed one: install both together, '
        "'pip install --force-reinstall torch torchvision', in a fresh virtual environment",
        'cv2': "'pip install --force-reinstall opencv-python-headless', which needs no desktop libraries",
        'mmengine': "'pip install mmengine-lite'",
    }
    with _no_collection():
        for module, remedy in remedies.items():
            try:
                importlib.import_module(module)
            except Exception as error:  # a broken binary raises anything: ImportError, RuntimeError, OSError
                reason = ' '.join(str(error).split())
                raise ConfigError(f'{module} does not import ({reason}); the way out: {remedy}') from error


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without garbage collection, which takes a tenth of the time of large imports and finds nothing: modules stay."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn our own errors, and those of a disk, into one line on stderr and exit status 2 or 1; leave all else alone."""
    try:
        yield
    except (ConfigError, TrainingError) as error:
        sentence = str(error)
        if sentence.startswith('Caught '):  # torch puts a traceback before what a data-loader worker raised
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
