"""Comparing exported files with the PyTorch model that they come from."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from motivation.compute.macs import measure_inference
from motivation.errors import ConfigError
from motivation.export.deployable import Deployable
from motivation.export.measured_file import DoesNotRunError, MeasuredFile
from motivation.utils.files import write_whole

# Points of top-1 accuracy that a quantised file may lose.
LARGEST_DROP = 5.0

# Each latency is the median of the calls of several rounds over all files, so that a busy moment of the machine meets
# them alike. A round makes at most so many calls of one file with one size of batch, in at most so many seconds.
ROUNDS, CALLS, SECONDS = 3, 10, 0.1


# Images of the first batch that are also compared one by one, as most programs run them.
SINGLE_IMAGES = 4

# Difference of a quantised file's logits for a single image from its own in a batch, relative to the largest, that is
# accepted: it is 0 in ONNX Runtime on one machine, and other kernels may round some values to the next step.
SINGLE_TOLERANCE = 0.1


@dataclass
class Parity:
    """What an exported file does, beside the PyTorch model.

    Attributes:
        format: Name of the format.
        input: What the file takes: ``'normalised'`` float32 or ``'uint8'`` images.
        int8: Whether it is quantised.
        images: Number of validation images compared.
        largest_difference: Largest difference of a logit, in a batch or of a single image, relative to the largest
            absolute logit of PyTorch's.
        equal_top1: Share of images of which both name the same class; with several labels, the same ones (of a probability
            above 0.5).
        accuracy_top1: Accuracy of the file, in percent; with several labels, the share of images whose labels are all right.
        pytorch_accuracy_top1: Accuracy of the PyTorch model, in percent.
        bytes: Size of the file.
        sha256: Its SHA-256, hexadecimal, by which it is known again.
        parameters: Parameters of the model.
        macs: Multiply-accumulates of an image.
        latency_ms_batch_1: Median milliseconds of a call with one image.
        latency_ms_batch: Median milliseconds of a call with ``batch_size`` images.
        batch_size: Size of the run's batches, or the largest that the file takes.
        peak_memory_bytes: Largest resident memory of a process that runs only this file, libraries included.
        threads: Threads of that process, which is one.
        tolerance: Largest ``largest_difference`` that is accepted; ``None`` for a quantised file.
        largest_drop: Largest loss of accuracy that is accepted, in points; ``None`` for others.
        accepted: Whether the file may be used.
        reason: Why not; ``None`` if it may.
        made_from: SHA-256 of the ``.pth`` that the file was made from.
        several_labels: Whether images have several labels.

    A value that was not measured, because the file does not run, is ``None``.
    """

    format: str
    input: str
    int8: bool
    bytes: int
    parameters: int
    macs: int | None
    tolerance: float | None
    largest_drop: float | None
    sha256: str | None = None
    images: int = 0
    largest_difference: float | None = None
    equal_top1: float | None = None
    accuracy_top1: float | None = None
    pytorch_accuracy_top1: float | None = None
    latency_ms_batch_1: float | None = None
    latency_ms_batch: float | None = None
    batch_size: int | None = None
    peak_memory_bytes: int | None = None
    threads: int = 1
    accepted: bool = True
    reason: str | None = None
    made_from: str | None = None
    several_labels: bool = False

    def refuse(self, reason: str) -> None:
        """Refuse the file, for the first reason that is given."""
        if self.accepted:
            self.accepted, self.reason = False, reason

    def write(self, path: Path) -> None:
        """Write it as JSON.

        Raises:
            OSError: The file cannot be written.
        """
        content = json.dumps(asdict(self), indent=1) + '\n'
        write_whole(path, lambda file: file.write(content.encode()))


class _Compared:
    """A file that runs, with the totals of what is compared.

    Args:
        path: The file.
        runtime: The file that loads it.
        parity: What is known of it; the rest is filled in.
    """

    def __init__(self, path: Path, runtime: Path, parity: Parity) -> None:
        self.parity = parity
        self._file = MeasuredFile(runtime, path)
        self._difference = self._largest = 0.0
        self._when = ''  # it differs most
        self._images = self._equal = self._right = self._right_before = 0
        self._milliseconds: dict[int, list[float]] = {}

    def attempt(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call one of the methods below, unless the file is refused, and refuse it if it does not run."""
        if self.parity.accepted:
            try:
                function(self, *arguments)
            except DoesNotRunError as error:
                self.parity.refuse(str(error))

    def begin(self) -> None:
        """Wait until the file is loaded."""
        self._file.wait()
        takes = 'uint8' if self._file.takes_uint8 else 'normalised'
        if takes != self.parity.input:
            self.parity.refuse(f'takes {takes} images instead of {self.parity.input}')

    def compare(self, images: np.ndarray, expected: np.ndarray, targets: np.ndarray) -> None:
        """Compare the logits of images with PyTorch's, and those of the first images one by one too."""
        is_first = self._images == 0
        logits = self._file.run(images)
        self._check(logits, expected)
        if not self.parity.accepted:
            return
        self.parity.several_labels = several = targets.ndim == 2
        named, named_before = (given > 0 if several else given.argmax(1)[:, None] for given in (logits, expected))
        targets = targets > 0 if several else targets[:, None]
        self._largest = max(self._largest, float(np.abs(expected).max()))
        self._images += len(images)
        self._equal += int((named == named_before).all(1).sum())
        self._right += int((named == targets).all(1).sum())
        self._right_before += int((named_before == targets).all(1).sum())
        if is_first and self._file.largest_batch != 1:
            for index in range(min(SINGLE_IMAGES, len(images))):
                one = slice(index, index + 1)
                alone = self._file.run(images[one])
                self._check(alone, expected[one], ' for a single image')
                if self.parity.accepted and self.parity.tolerance is None:
                    self._check_single(alone, logits[one])

    def _check(self, logits: np.ndarray, expected: np.ndarray, when: str = '') -> None:
        if logits.shape != expected.shape:
            self.parity.refuse(f'gives {logits.shape[1]} logits for an image, and PyTorch {expected.shape[1]}')
        elif not np.isfinite(expected).all():
            self.parity.refuse('is of a model whose logits are not finite in PyTorch either')
        elif not np.isfinite(logits).all():
            self.parity.refuse(f'gives logits that are not finite{when}')
        else:
            difference = float(np.abs(logits - expected).max())
            if difference > self._difference:
                self._difference, self._when = difference, when

    def _check_single(self, alone: np.ndarray, in_batch: np.ndarray) -> None:
        """Refuse a quantised file, which may differ from PyTorch, if it differs from itself."""
        difference = np.abs(alone - in_batch).max() / max(np.abs(in_batch).max(), np.finfo(np.float32).tiny)
        if difference > SINGLE_TOLERANCE:
            self.parity.refuse(
                f'differs by {difference:.1e} of the largest logit between a single image and a batch, more than '
                f'{SINGLE_TOLERANCE:g}'
            )

    def time(self, images: np.ndarray, calls: int) -> None:
        """Time calls with one image, and with as many as the file takes."""
        most = min(len(images), self._file.largest_batch or len(images))
        for size in (1, most):
            milliseconds = self._file.time(images[:size], calls, SECONDS)
            if calls > 1:
                self._milliseconds.setdefault(size, []).extend(milliseconds)

    def end(self) -> None:
        """Complete the report, and refuse the file if it differs by too much."""
        parity = self.parity
        parity.images = self._images
        parity.largest_difference = self._difference / self._largest if self._largest else self._difference
        parity.equal_top1 = self._equal / self._images
        parity.accuracy_top1 = 100 * self._right / self._images
        parity.pytorch_accuracy_top1 = 100 * self._right_before / self._images
        sizes = sorted(self._milliseconds)
        parity.latency_ms_batch_1, parity.latency_ms_batch = (
            median(self._milliseconds[size]) for size in (sizes[0], sizes[-1])
        )
        parity.batch_size = sizes[-1]
        parity.peak_memory_bytes = self._file.peak_memory()
        drop = parity.pytorch_accuracy_top1 - parity.accuracy_top1
        if parity.tolerance is not None and not parity.largest_difference <= parity.tolerance:
            parity.refuse(
                f'differs from PyTorch by {parity.largest_difference:.1e} of the largest logit{self._when}, '
                f'more than {parity.tolerance:.0e}'
            )
        if parity.largest_drop is not None and drop > parity.largest_drop:
            parity.refuse(f'loses {drop:.1f} points of accuracy, more than {parity.largest_drop:g}')

    def close(self) -> None:
        """End its process."""
        self._file.close()


@torch.no_grad()
def measure_parity(
    files: Sequence[tuple[Path, Path, Parity]],
    deployable: Deployable,
    batches: Iterable[Mapping[str, Tensor]],
    batch_size: int,
) -> None:
    """Compare exported files of one model with it on the same images, each in a process of its own, and time them.

    Args:
        files: Each file, the file that loads it, and its report, which is completed.
        deployable: The model.
        batches: Validation data, see :meth:`motivation.export.finished_run.FinishedRun.validation`; at least one batch.
        batch_size: Number of images of the larger batch that is timed.
    """
    forms = {name: replace(deployable, raw_input=name == 'uint8') for name in {parity.input for _, _, parity in files}}
    networks = {name: form.network() for name, form in forms.items()}
    compared: list[_Compared] = []
    try:
        for file in files:
            compared.append(_Compared(*file))
        every = partial(_attempt, compared)
        every(_Compared.begin)
        kept: dict[str, Tensor] = {}
        for batch in batches:
            for name, form in forms.items():
                images = form.inputs(batch['inputs'])
                expected = networks[name](images).float().numpy()
                every(_Compared.compare, images.numpy(), expected, batch['targets'].numpy(), takes=name)
                kept[name] = torch.cat([*([kept[name]] if name in kept else []), images])[:batch_size]
        timed = {name: _repeated(images, batch_size).numpy() for name, images in kept.items()}
        for calls in (1, *[CALLS] * ROUNDS):  # the first calls with a size of batch are slow
            for name, batch_of_run in timed.items():
                every(_Compared.time, batch_of_run, calls, takes=name)
        every(_Compared.end)
    finally:
        for file_compared in compared:
            file_compared.close()


def _attempt(
    compared: Sequence[_Compared], function: Callable[..., None], *arguments: Any, takes: str | None = None
) -> None:
    for file in compared:
        if takes in (None, file.parity.input):
            file.attempt(function, *arguments)


def _repeated(images: Tensor, count: int) -> Tensor:
    return images.repeat(-(-count // len(images)), 1, 1, 1)[:count]


def describe_model(deployable: Deployable, images: Tensor) -> tuple[int, int | None]:
    """Return the parameters of a model and its MACs for an image; ``None`` for those if they cannot be counted.

    Args:
        deployable: The model.
        images: At least one image, (N, C, H, W), uint8 or float from 0 to 1.
    """
    parameters = sum(parameter.numel() for parameter in deployable.model.parameters())
    try:
        macs = measure_inference(deployable.model, {'inputs': images[:1], 'targets': torch.zeros(1, dtype=torch.long)})
    except ConfigError:  # an operator without a formula, which is no reason not to export
        return parameters, None
    return parameters, macs.per_image + macs.per_batch
