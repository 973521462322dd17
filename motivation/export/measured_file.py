"""An exported file that runs in a process of its own, so that its crash or hang is an answer like any other."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np

from motivation.export import measure

# Seconds that a file has to load, and to answer each request, before it is given up.
PATIENCE = 300.0

# One thread, of whatever library runs the file.
_THREADS = dict.fromkeys(('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'VECLIB_MAXIMUM_THREADS'), '1')


# A line of the standard error that can say why a process has ended, and one that does not.
_ERROR = re.compile(r'error|exception|fatal|fail|abort|terminate|assert|signal|cannot', re.IGNORECASE)
_NOISE = re.compile(r'warn', re.IGNORECASE)

# Seconds that a process has to end after it has closed its output.
_ENDING = 5.0


class DoesNotRunError(RuntimeError):
    """An exported file cannot be loaded or does not run; the message says why, as the end of a sentence."""


class MeasuredFile:
    """An exported file in a process that runs it and does not import this framework.

    Args:
        runtime: The file of :mod:`motivation.export.runtimes` that loads it.
        path: The file.
        patience: Seconds to wait for each answer. Default: :data:`PATIENCE`.

    Attributes:
        takes_uint8: Whether it takes uint8 images; only after :meth:`wait`.
        largest_batch: Largest number of images that one call takes; ``None`` for any.
    """

    takes_uint8: bool
    largest_batch: int | None

    def __init__(self, runtime: Path, path: Path, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._expired = False
        self._messages = tempfile.TemporaryFile()  # noqa: SIM115, closed with the process
        self._process = subprocess.Popen(
            [sys.executable, measure.__file__, str(runtime.resolve()), str(path.resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            env={**os.environ, **_THREADS},
            cwd=tempfile.gettempdir(),  # where no module of the user lies in the way
            start_new_session=True,  # a Ctrl-C is for this process, which then ends that one
        )

    def wait(self) -> None:
        """Wait until the file is loaded.

        Raises:
            DoesNotRunError: It cannot be loaded.
        """
        facts, _ = self._receive('load')
        most = facts.get('largest_batch')
        if most is not None and (type(most) is not int or most < 1):
            raise DoesNotRunError(f'does not load: its runtime has {most!r} for the largest batch')
        self.takes_uint8, self.largest_batch = bool(facts.get('takes_uint8')), most

    def run(self, images: np.ndarray) -> np.ndarray:
        """Return the logits (N, K) of images (N, C, H, W).

        Raises:
            DoesNotRunError: It does not run, or gives something else.
        """
        logits = self._ask({'do': 'run'}, images)[1]
        if logits is None or logits.ndim != 2 or len(logits) != len(images):
            shape = None if logits is None else tuple(logits.shape)
            raise DoesNotRunError(f'gives {shape} for {len(images)} images instead of logits')
        return logits

    def time(self, images: np.ndarray, calls: int, seconds: float) -> list[float]:
        """Return how long calls take, in milliseconds.

        Args:
            images: (N, C, H, W).
            calls: Number of calls, at most.
            seconds: Seconds after which no further call is made.

        Raises:
            DoesNotRunError: It does not run.
        """
        return self._ask({'do': 'time', 'calls': calls, 'seconds': seconds}, images)[0]['milliseconds']

    def peak_memory(self) -> int | None:
        """Return the largest resident memory of the process so far in bytes, or ``None`` on Windows.

        Raises:
            DoesNotRunError: It does not answer.
        """
        return self._ask({'do': 'memory'})[0]['peak_memory_bytes']

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._messages):
            if stream is not None and not stream.closed:
                with suppress(BrokenPipeError):  # of what was not yet sent
                    stream.close()

    def _ask(self, message: dict[str, Any], images: np.ndarray | None = None) -> measure.Message:
        killer = self._watch()
        try:
            with suppress(OSError):  # it has ended; the answer says how
                measure.send(self._process.stdin, message, images)
        finally:
            killer.cancel()
        return self._receive('run')

    def _watch(self) -> Timer:
        killer = Timer(self._patience, self._expire)
        killer.daemon = True
        killer.start()
        return killer

    def _expire(self) -> None:
        self._expired = True
        self._process.kill()

    def _receive(self, what: str) -> measure.Message:
        killer = self._watch()
        try:
            message, array = measure.receive(self._process.stdout)
        except EOFError as error:
            raise DoesNotRunError(self._end(what)) from error
        except ValueError as error:
            raise DoesNotRunError(f'does not {what}: its process answers with no message') from error
        finally:
            killer.cancel()
        if 'error' in message:
            raise DoesNotRunError(f'does not {what}: {message["error"]}')
        return message, array

    def _end(self, what: str) -> str:
        """Return how the process has ended."""
        with suppress(subprocess.TimeoutExpired):  # it may be about to end by itself
            self._process.wait(_ENDING)
        self._process.kill()
        code = self._process.wait()
        if self._expired:
            return f'does not {what} within {self._patience:g} seconds'
        try:
            how = f'signal {signal.Signals(-code).name}' if code < 0 else f'exit status {code}'
        except ValueError:
            how = f'signal {-code}'
        self._messages.seek(0)
        lines = self._messages.read().decode(errors='replace').splitlines()
        lines = [line for line in lines if _ERROR.search(line) and not _NOISE.search(line)]
        said = f', after "{" ".join(lines[-1].split())[:200]}"' if lines else ''
        return f'does not {what}: its process ended with {how}{said}'
