"""Runs for ``test_step.py``, which count device reads and collectives and compare the processes' records.

:func:`count` counts collectives, and reads of a tensor by the host. As a script, in two processes, it takes a
folder to write to.
"""

import json
import math
import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from torch.utils._python_dispatch import TorchDispatchMode

from motivation.engine.runner import DualModelRunner
from motivation.hooks import MotivationHook
from motivation.policies import SwitchPolicy
from motivation.registry import POLICIES
from motivation.utils.distributed import join_processes
from motivation.utils.interruption import Interrupted
from tests.conftest import tiny_config

COLLECTIVES = (
    *('all_reduce', 'all_gather', 'all_gather_into_tensor', 'all_gather_object', 'all_to_all', 'barrier', 'broadcast'),
    *('broadcast_object_list', 'gather', 'gather_object', 'reduce', 'reduce_scatter', 'scatter', 'scatter_object_list'),
)


@POLICIES.register_module(force=True)
class AsksForAll(SwitchPolicy):
    """Alternates, and asks for the signals that are measured on the device."""

    def __init__(self) -> None:
        self.batches = 0

    @property
    def signal_options(self) -> dict[str, dict[str, int]]:
        return {'held_in_loss': {'every': 2, 'images': 9}}

    def update(
        self,
        loss: float,
        accuracy: float,
        grad_norm: float,
        sample_progress: float | None,
        held_in_loss: float | None,
        grad_agreement: float | None,
    ) -> bool:
        self.batches += 1
        return self.batches % 2 == 1


class Reads(TorchDispatchMode):
    """Records every ``item()``, ``float()`` and ``bool()`` of a tensor."""

    def __init__(self, seen: list[str]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            self.seen.append('item')
        return func(*args, **(kwargs or {}))


class Counts(Hook):
    """Records the calls between one ``before_train_iter`` and the next."""

    priority = 'HIGHEST'

    def __init__(self) -> None:
        self.costs: list[dict[str, list[str]]] = []
        self.losses: list[float] = []
        self.records: list[list[Any]] = []
        self.watching = ExitStack()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self.watching.close()
        collectives: list[str] = []
        reads: list[str] = []
        self.costs.append({'collectives': collectives, 'reads': reads})
        for name in COLLECTIVES:
            self._watch(torch.distributed, name, collectives)
        # These read a CPU tensor without an operator; on a device, numpy() would raise.
        for name in ('tolist', 'cpu'):
            self._watch(torch.Tensor, name, reads)
        self.watching.enter_context(Reads(reads))

    def _watch(self, owner: Any, name: str, seen: list[str]) -> None:
        function: Callable[..., Any] = getattr(owner, name)

        @wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            seen.append(name)
            return function(*args, **kwargs)

        self.watching.enter_context(mock.patch.object(owner, name, counted))

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        step = runner.last_step
        self.losses.append(outputs['loss'])
        self.records.append([step.model, step.loss, step.images, step.clock, step.accuracy, step.grad_norm])

    def after_train_epoch(self, runner: Any) -> None:
        self.watching.close()
        self.costs.pop()  # the end of the epoch is no part of a batch


class SpoilsOne(Hook):
    """Makes the loss of one batch NaN in the last process of the run."""

    def before_train(self, runner: Any) -> None:
        for name in ('base', 'motivated'):
            getattr(runner.model, name).loss.register_forward_hook(
                lambda module, inputs, loss: loss * (math.nan if _is_last(runner) and runner.iter == 2 else 1)
            )


class StopsOne(Hook):
    """Sends the last process of the run a signal within a batch."""

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if batch_idx == 2 and _is_last(runner):
            os.kill(os.getpid(), signal.SIGTERM)


def count(folder: Path, **options: Any) -> Counts:
    """Train for an epoch of six batches with all default hooks.

    Args:
        folder: The work_dir.
        **options: Fields of the config.
    """
    counts = Counts()
    runner = DualModelRunner.from_cfg(tiny_config(folder, 1, **{'train_dataloader.dataset.transforms': [], **options}))
    runner.register_hook(counts)
    runner.train()
    return counts


def _is_last(runner: Any) -> bool:
    return runner.rank == runner.world_size - 1


ASKING = {'motivation.policy': dict(_delete_=True, type='AsksForAll'), 'optim_wrapper.clip_grad': dict(max_norm=0.1)}


def main() -> None:
    folder, results = Path(sys.argv[1]), {}
    join_processes()
    for name, options in (('plain', {}), ('asking', ASKING)):
        counts = count(folder / name, **options)
        results[name] = {'costs': counts.costs, 'losses': counts.losses, 'records': counts.records}
    runner = DualModelRunner.from_cfg(tiny_config(folder / 'spoilt', 1, **{'train_cfg.on_bad_loss': 'skip'}))
    runner.register_hook(SpoilsOne())
    runner.train()
    losses = runner.find_hook(MotivationHook).trace.losses
    results['spoilt'] = {
        'skipped': runner.train_loop.skipped,
        'losses': [loss if math.isfinite(loss) else None for loss in losses],
        'weights': sum(parameter.detach().double().sum().item() for parameter in runner.model.parameters()),
    }
    runner = DualModelRunner.from_cfg(tiny_config(folder / 'stopped', 1))
    runner.register_hook(StopsOne())
    try:
        runner.train()
    except Interrupted as ended:
        results['stopped'] = {'iter': runner.iter, 'status': ended.code}
    (folder / f'{get_rank()}.json').write_text(json.dumps(results))


if __name__ == '__main__':
    main()
