"""Timing the batches and the validation of a run on this machine, before it is run."""

import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from motivation.config.read import load_config
from motivation.engine.train_loop import DualTrainLoop
from motivation.errors import TrainingError, clear_errors
from motivation.models.distilled_classifier import DistilledClassifier
from motivation.policies import Always, Never
from motivation.registry import LOOPS, RUNNERS
from motivation.structures import MODEL_NAMES, ModelName, model_of
from motivation.utils.training_parts import Size, resized

# Batches before those that are timed; compiled models are compiled in them.
_WARMUP = 3

# Batches that are timed: at least so many, and more until so many seconds have passed.
_LEAST, _MOST, _SECONDS = 5, 50, 2.0

# Hooks that only write results.
_WRITERS = ('report', 'export', 'progress', 'checkpoint')

# Fields that decide how long a batch takes.
_PARTS = (
    'model', 'train_dataloader', 'val_dataloader', 'optim_wrapper', 'compile', 'env_cfg', 'default_hooks',
    'custom_hooks', 'visualizer', 'load_from',
)  # fmt: skip

_ROOT = Path(__file__).resolve().parents[2]
_MEASURE = 'import sys; sys.path[0] = sys.argv[1]; from motivation.comparison.timing import main; main(*sys.argv[2:])'


@dataclass(frozen=True)
class Timing:
    """How long the parts of a run take, in seconds.

    Attributes:
        base: A batch on which the base model trains, with loading, logging and counting.
        motivated: A batch on which the motivated model trains, without a step of the base model.
        validation: A validation of each model, by name; empty without validation data.
        setup: From the config to the first batch, with reading data onto the device and compiling.
        batches: Number of batches of an epoch.
    """

    base: float
    motivated: float
    validation: dict[ModelName, float]
    setup: float
    batches: int


@LOOPS.register_module()
class TimingLoop(DualTrainLoop):
    """Times some batches of each model and of the validation instead of training.

    Attributes:
        timing: The result, once it has run; ``setup`` is what compiling added to the first batches.
        begun: When the first batch was loaded, by :func:`time.perf_counter`.

    Example:
        >>> train_cfg = dict(type='TimingLoop', max_epochs=1)
    """

    timing: Timing
    begun: float
    is_trial = True

    def run_epoch(self) -> None:
        """Time each model in turn, and end."""
        self.begun = time.perf_counter()
        runner, model = self.runner, self.runner.model
        runner.call_hook('before_train_epoch')
        model.train()
        batches = enumerate(chain.from_iterable(repeat(self.dataloader)))
        steps: list[float] = []
        compiling = 0.0
        seconds: dict[Size | None, float]
        for policy in (Never(), Always()):
            model.follow(policy, runner.optim_wrapper)
            begun = time.perf_counter()
            for _ in range(_WARMUP):  # the first still trains the base model
                self._step(batches)
            warmed = time.perf_counter() - begun
            seconds = {None: _mean_seconds(lambda: self._step(batches))}
            compiling += max(warmed - _WARMUP * seconds[None], 0.0)
            for part in self.parts.parts:
                if part.size not in seconds:
                    seconds[part.size] = _mean_seconds(partial(self._step, batches, part.size))
            steps.append(sum(part.share * seconds[part.size] for part in self.parts.parts))
        validation = {} if runner.val_loop is None else {name: self._validate_some(name) for name in MODEL_NAMES}
        self.timing = Timing(steps[0], steps[1], validation, compiling, len(self.dataloader))
        self._epoch = self._max_epochs

    def _step(self, batches: Iterator[tuple[int, Any]], size: Size | None = None) -> None:
        place, batch = next(batches)
        self.run_iter(place, resized(batch, size))
        self.runner.call_hook('between_iters')
        if self.runner.interruption.asked():
            raise SystemExit(self.runner.interruption.exit_status)

    @torch.no_grad()
    def _validate_some(self, name: ModelName) -> float:
        loop, model = self.runner.val_loop, self.runner.model
        scored = [part for part in loop.evaluators if model_of(part) == name]
        batches = chain.from_iterable(repeat(loop.dataloader))
        model.eval()

        def predict() -> None:
            model.val_step(next(batches), models=scored)
            if torch.cuda.is_available():
                torch.cuda.synchronize()

        predict()
        return _mean_seconds(predict) * len(loop.dataloader)


def _mean_seconds(call: Any) -> float:
    calls, begun, passed = 0, time.perf_counter(), 0.0
    while calls < _LEAST or (passed < _SECONDS and calls < _MOST):
        call()
        calls, passed = calls + 1, time.perf_counter() - begun
    return passed / calls


def reduce_to_timed(config: Config) -> Config:
    """Return a run's config for timing it: both models, without a teacher or results.

    Args:
        config: A checked config; it is not modified.
    """
    plain = config._cfg_dict.to_dict()
    plain['model'].pop('distillation', None)
    if plain['model']['base'].get('type') == 'DistilledClassifier':
        plain['model']['base'] = DistilledClassifier.without_teacher(plain['model']['base'])
    plain['motivation'] = dict(policy=dict(type='Never'))
    # Schedules must not end, and the validation is not that of training.
    plain['train_cfg'] = {
        'type': 'TimingLoop',
        **{name: plain['train_cfg'][name] for name in ('max_epochs', 'parts') if name in plain['train_cfg']},
    }
    if plain.get('val_cfg') is not None:
        plain['val_cfg'] = dict(plain['val_cfg'], models=list(MODEL_NAMES))
    plain['default_hooks'] = {**(plain.get('default_hooks') or {}), **dict.fromkeys(_WRITERS)}
    plain.pop('resume', None)
    return Config(plain)


def time_run(config: Config) -> Timing:
    """Time the parts of a run in this process.

    Args:
        config: The result of :func:`reduce_to_timed`, read by :func:`~motivation.config.read.load_config`.

    Raises:
        ConfigError: The run cannot be built.
    """
    with tempfile.TemporaryDirectory() as folder:
        config.work_dir = folder
        begun = time.perf_counter()
        runner = RUNNERS.build(config)
        runner.train()
        loop = runner.train_loop
        return replace(loop.timing, setup=loop.timing.setup + loop.begun - begun)


def main(output: str, *paths: str) -> None:
    """Time several configs, and write the results as JSON.

    Args:
        output: File to write.
        *paths: Paths of the configs.
    """
    with clear_errors():
        timings = []
        for path in paths:
            timings.append(asdict(time_run(load_config(path))))
            gc.collect()  # the models before, which their hooks hold
            torch.cuda.empty_cache()
        Path(output).write_text(json.dumps(timings))


def time_runs(configs: Sequence[Config], environment: Mapping[str, str]) -> list[Timing]:
    """Time the parts of several runs, equal ones once, in a process of their own.

    Nothing of it stays on the device, and it has the environment of a run.

    Args:
        configs: Configs of the runs.
        environment: Environment variables of the runs, in addition to those of this process.

    Returns:
        The timing of each run.

    Raises:
        TrainingError: A run cannot be timed; says why.
    """
    if not configs:
        return []
    reduced = [reduce_to_timed(config) for config in configs]
    keys = [json.dumps([config.train_cfg.get('parts'), *map(config.get, _PARTS)], default=repr) for config in reduced]
    distinct = dict(zip(keys, reduced, strict=True))
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f'run{place}.py') for place in range(len(distinct))]
        for path, config in zip(paths, distinct.values(), strict=True):
            config.dump(str(path))
        output = Path(folder, 'timings.json')
        done = subprocess.run(
            [sys.executable, '-c', _MEASURE, str(_ROOT), str(output), *map(str, paths)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **environment},
        )
        if done.returncode or not output.is_file():
            reason = next(reversed(done.stderr.split('\n')[:-1]), f'exit status {done.returncode}')
            raise TrainingError(f'no forecast, because the models cannot be timed: {reason.removeprefix("error: ")}')
        timings = [Timing(**timing) for timing in json.loads(output.read_text())]
    by_key = dict(zip(distinct, timings, strict=True))
    return [by_key[key] for key in keys]
