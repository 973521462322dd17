"""Run an exported file in a process of its own, which imports nothing of this framework.

``python measure.py RUNTIME FILE`` loads FILE with the ``load`` of RUNTIME, one of :mod:`motivation.export.runtimes`. Then
it reads requests from its standard input and answers each on its standard output. A message is a line of JSON and, if
that has a ``'shape'``, the bytes of an array of that shape and ``'dtype'``:

- ``{"do": "run"}`` with images (N, C, H, W) is answered by their logits (N, K);
- ``{"do": "time", "calls": n, "seconds": s}`` with images by ``'milliseconds'``, one for each of at most n calls, and no
  more after s seconds;
- ``{"do": "memory"}`` by ``'peak_memory_bytes'``: the largest resident memory of this process.

The first answer, without a request, describes the model. An error is answered by ``'error'``.
"""

import importlib.util
import json
import os
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Message = tuple[dict[str, Any], 'np.ndarray | None']

# Kinds of dtype of an array in a message. The bytes of any other, such as object, are not numbers.
_KINDS = 'biuf'


def send(stream: Any, message: dict[str, Any], array: np.ndarray | None = None) -> None:
    """Write a message.

    Args:
        stream: Where to.
        message: What JSON can hold.
        array: An array that goes with it.
    """
    if array is not None:
        array = np.ascontiguousarray(array)
        message = {**message, 'shape': array.shape, 'dtype': str(array.dtype)}
    stream.write(json.dumps(message).encode() + b'\n')
    if array is not None:
        stream.write(array.data.cast('B') if array.size else b'')
    stream.flush()


def receive(stream: Any) -> Message:
    """Read a message and its array, if it has one.

    Raises:
        EOFError: The other side has ended.
        ValueError: It is not a message, or its array is not one of plain numbers.
    """
    line = stream.readline()
    if not line.endswith(b'\n'):
        raise EOFError
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError('a message must be an object of JSON')
    if 'shape' not in message:
        return message, None
    try:
        dtype = np.dtype(message['dtype'])
        if dtype.kind not in _KINDS:
            raise ValueError(f'an array must be of plain numbers, got {dtype}')
        array = np.empty(message['shape'], dtype)
    except (KeyError, TypeError, MemoryError) as error:
        raise ValueError('a message must have the shape and dtype of its array') from error
    content = stream.read(array.nbytes)
    if len(content) < array.nbytes:
        raise EOFError
    array.data.cast('B')[:] = content
    return message, array


def answer(model: Callable[[np.ndarray], Any], message: dict[str, Any], images: np.ndarray | None) -> Message:
    """Do what a request asks for."""
    if message['do'] == 'memory' or images is None:
        return {'peak_memory_bytes': peak_memory()}, None
    if message['do'] == 'run':
        most = model.largest_batch or len(images)  # type: ignore[attr-defined]
        parts = [_numbers(model(images[first : first + most])) for first in range(0, len(images), most)]
        return {}, np.concatenate(parts)
    milliseconds: list[float] = []
    end = time.perf_counter() + message['seconds']
    while len(milliseconds) < message['calls'] and (not milliseconds or time.perf_counter() < end):
        begun = time.perf_counter()
        model(images)
        milliseconds.append(1000 * (time.perf_counter() - begun))
    return {'milliseconds': milliseconds}, None


def _numbers(logits: Any) -> np.ndarray:
    """Return logits in float32."""
    logits = np.asarray(logits)
    if logits.dtype.kind not in _KINDS:
        raise TypeError(f'logits must be real numbers, got {logits.dtype}')
    return logits.astype(np.float32)


def peak_memory() -> int | None:
    """Return the largest resident memory of this process in bytes, or ``None`` on Windows."""
    try:  # the maximum that getrusage reports on Linux includes what the parent used before this program began
        status = Path('/proc/self/status').read_text()
        return 1024 * int(status.split('VmHWM:')[1].split()[0])
    except (OSError, IndexError):
        try:
            import resource  # Windows lacks it
        except ImportError:
            return None
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == 'darwin' else 1024 * most


def load(runtime: str, path: str) -> Any:
    """Load a file with the ``load`` of a runtime's file."""
    spec = importlib.util.spec_from_file_location('runtime', runtime)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules['runtime'] = module
    spec.loader.exec_module(module)
    return module.load(path)


def main(runtime: str, path: str) -> None:
    """Serve requests until the input ends."""
    sys.path.remove(str(Path(__file__).parent))  # whose files could hide a library's
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), 'wb')
    os.dup2(2, 1)  # what libraries print goes to the standard error
    try:
        model = load(runtime, path)
        send(target, {'takes_uint8': bool(model.takes_uint8), 'largest_batch': model.largest_batch})
        while True:
            try:
                message, images = receive(source)
            except EOFError:
                return
            send(target, *answer(model, message, images))
    except Exception as error:  # of whatever runs the file
        send(target, {'error': f'{type(error).__name__}: {textwrap.shorten(str(error), 300, placeholder=" ...")}'})


if __name__ == '__main__':
    main(*sys.argv[1:3])
