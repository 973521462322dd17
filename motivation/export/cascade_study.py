"""Measuring the cascade of the two models of a run: accuracy, MACs and time."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import fmean, median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from motivation.compute.macs import measure_inference
from motivation.errors import ConfigError
from motivation.evaluation.cascade import assess
from motivation.evaluation.cascade_result import Cascaded, Latency
from motivation.evaluation.confidence import Measure, confidence
from motivation.export.cascade import Cascade
from motivation.export.deployable import Deployable
from motivation.export.finished_run import FinishedRun
from motivation.export.origin import ORIGIN
from motivation.structures import MODEL_NAMES, ModelName
from motivation.utils.batches import first_sample
from motivation.utils.files import sha256
from motivation.utils.processor import processor_name

TIMED_IMAGES, REPEATS = 200, 5


def study_cascade(
    run: FinishedRun, measure: Measure = 'probability', seed: int = 0, timed_images: int = TIMED_IMAGES
) -> tuple[Cascaded, Latency, dict[str, Any]]:
    """Run both models of a run on its validation data, and judge and time their cascade.

    Args:
        run: The run.
        measure: The measure of the base model's confidence. Default: ``'probability'``.
        seed: Seed of the halves of the validation data. Default: 0.
        timed_images: Number of images to time. Default: 200.

    Returns:
        The cascade; its times at equal accuracy; and the ``'run'``, the names of the models as ``'base'`` and
        ``'motivated'``, the digests of their files as ``'made_from'``, and the ``'machine'``.

    Raises:
        ConfigError: A model is missing or was never trained, their classes differ, or there are no or too few
            validation data.
    """
    _check_trained(run)
    models = _load(run)
    digests = {name: sha256(run.models[name]) for name in MODEL_NAMES}
    networks = {name: model.network() for name, model in models.items()}
    logits, targets, sample = _predict(run, networks)
    # A batch of one image: what is computed once a batch counts for it.
    macs = {name: sum(measure_inference(models[name].model, sample)) for name in MODEL_NAMES}
    result = assess(logits, targets, macs, measure, seed)
    point = result.equal_accuracy
    images = _images(run, _spread_by(confidence(logits['base'], measure), timed_images))
    cascade = Cascade(networks['base'], networks['motivated'], point.threshold, measure).eval()
    about: dict[str, Any] = {
        'run': str(run.folder),
        **{name: getattr(models[name].model, 'model_name', name) for name in MODEL_NAMES},
        ORIGIN: digests,
        'machine': processor_name(),
    }
    return result, time_cascade(cascade, images), about


def time_cascade(cascade: Cascade, images: Tensor, repeats: int = REPEATS) -> Latency:
    """Time a cascade and its two models, image by image, on one CPU thread.

    Args:
        cascade: The cascade.
        images: (N, C, H, W), as it takes them.
        repeats: Times that each image is run; the median of them counts, which other load disturbs least. Default: 5.
    """
    runs = {'base': cascade.base, 'motivated': cascade.motivated, 'cascade': cascade}
    milliseconds: dict[str, list[float]] = {name: [] for name in runs}
    with _one_thread(), torch.no_grad():
        for image in images[:3].split(1):  # the first calls allocate and choose kernels
            for run in runs.values():
                run(image)
        for image in images.split(1):
            times: dict[str, list[float]] = {name: [] for name in runs}
            for _ in range(repeats):
                for name, run in runs.items():
                    start = time.perf_counter()
                    run(image)
                    times[name].append(1000 * (time.perf_counter() - start))
            for name in runs:
                milliseconds[name].append(median(times[name]))
        passed_on = torch.cat([cascade(image).by_motivated for image in images.split(1)])
    means = {name: fmean(values) for name, values in milliseconds.items()}
    return Latency(**means, passed_on=passed_on.float().mean().item(), images=len(images))


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _check_trained(run: FinishedRun) -> None:
    """Check that both models were trained, by the report of the run or, at a checkpoint, by its policy."""
    if run.report is None:
        never = run.config.get('motivation', {}).get('policy', {}).get('type') == 'Never'
        untrained = ['motivated'] if never else []
    else:
        untrained = [name for name in MODEL_NAMES if run.report.get(name, {}).get('iters') == 0]
    if untrained:
        raise ConfigError(
            f"the {untrained[0]} model of '{run.folder}' was never trained; give a run that trained both, "
            'such as one with the policy ConsecutiveDrop'
        )


def _load(run: FinishedRun) -> dict[ModelName, Deployable]:
    for name in MODEL_NAMES:
        if name not in run.models:
            raise ConfigError(f"'{run.folder}' has no {name}.pth; give the work_dir of a finished run")
    models = {name: Deployable.load(run.models[name], raw_input=True) for name in MODEL_NAMES}
    if any(model.metainfo.get('outputs') == 'sigmoid' for model in models.values()):
        raise ConfigError(
            f"the models of '{run.folder}' give several labels an image, and a cascade is of models that answer with one; predict "
            'with the base or the motivated model'
        )
    base, motivated = (models[name].classes for name in MODEL_NAMES)
    if base != motivated:
        raise ConfigError(
            f"'{run.models['base']}' and '{run.models['motivated']}' are of different classes; give two models of one run"
        )
    return models


@torch.no_grad()
def _predict(
    run: FinishedRun, networks: Mapping[ModelName, Any]
) -> tuple[dict[ModelName, Tensor], Tensor, dict[str, Any]]:
    """Return the logits of both models, (N, K), the targets, (N,), and one sample of the validation data."""
    logits: dict[ModelName, list[Tensor]] = {name: [] for name in MODEL_NAMES}
    targets: list[Tensor] = []
    sample: dict[str, Any] = {}
    for batch in run.validation():
        sample = sample or first_sample(batch)
        targets.append(batch['targets'])
        for name in MODEL_NAMES:
            logits[name].append(networks[name](batch['inputs']))
    if not targets:
        raise ConfigError(f"the validation data of '{run.folder}' hold no images; give a val_dataloader with some")
    return {name: torch.cat(parts) for name, parts in logits.items()}, torch.cat(targets), sample


def _spread_by(sure: Tensor, count: int) -> np.ndarray:
    """Return ascending indices of images spread over all confidences, so that as many are passed on as of all."""
    ranked = sure.argsort().numpy()
    places = (np.arange(min(count, len(ranked))) + 0.5) * len(ranked) / min(count, len(ranked))
    return np.sort(ranked[places.astype(int)])


def _images(run: FinishedRun, indices: np.ndarray) -> Tensor:
    """Return some of the validation images, by ascending index, without keeping the others."""
    found, first = [], 0
    for batch in run.validation():
        inputs = batch['inputs']
        here = indices[(indices >= first) & (indices < first + len(inputs))] - first
        found.append(inputs[torch.from_numpy(here)])
        first += len(inputs)
    return torch.cat(found)
