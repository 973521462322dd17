"""Re-estimating normalisation statistics for the current weights."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.runner import BaseLoop, Runner
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader, Subset

from motivation.config.build import build_dataset
from motivation.datasets import collate_of, some_at_random
from motivation.errors import ConfigError
from motivation.structures import model_of
from motivation.utils.batches import network_inputs, run_network
from motivation.utils.example import noun_of_model
from motivation.utils.precision import Precision, autocast
from motivation.utils.random_state import preserved_random_state
from motivation.utils.training_mode import evaluation_mode, uncompiled


@contextmanager
def recalibrated(runner: Runner) -> Iterator[None]:
    """Use statistics re-estimated on ``model.recalibrate`` training samples in all that is scored within the context.

    fvcore's ``precise_bn`` averages the batch statistics under the current weights, unlike the running average under
    weights that have since moved (Wu and Johnson, "Rethinking 'Batch' in BatchNorm", arXiv 2105.07576). The samples
    are the same every time, and of a stream those that are quick to read. The training statistics and random state are restored at the end. If
    ``model.recalibrate`` is 0, nothing changes.
    """
    samples = runner.model.recalibrate
    if not samples:
        yield
        return
    scored = runner.model.scored()
    modules = (module for model in scored.values() for module in model.modules())
    saved = {module: _clone(module) for module in modules if isinstance(module, _BatchNorm)}
    reestimate(runner, scored, samples)
    try:
        yield
    finally:
        for module, buffers in saved.items():
            for buffer, value in buffers.items():
                getattr(module, buffer).copy_(value)


def reestimate(runner: Runner, models: Mapping[str, BaseModel], samples: int) -> int:
    """Re-estimate the statistics of models on training samples, in place, without changing the random state.

    Args:
        runner: The runner.
        models: The models, by names that begin with ``'base'`` or ``'motivated'``.
        samples: Number of training samples, the same every time.

    Returns:
        Number of samples that were used; 0 if no model has statistics.
    """
    used = 0
    with preserved_random_state():
        torch.manual_seed(runner.seed)
        loader = _loader(runner, samples)
        for name, model in models.items():
            if _estimate(model, loader, runner.model.precision):
                used = len(loader.dataset)  # type: ignore[arg-type]
                runner.call_hook('after_reestimation', model=model_of(name), iters=len(loader), images=used)
    return used


def _clone(module: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in module.named_buffers(recurse=False)}


def _loader(runner: Runner, samples: int) -> DataLoader:
    if isinstance(runner._train_loop, BaseLoop):
        loader = runner.train_dataloader
        dataset, batch_size, collate_fn = loader.dataset, loader.batch_size, loader.collate_fn
    else:  # an evaluation, for which no training data is built
        config = runner._train_dataloader
        dataset, batch_size = build_dataset(config, 'train_dataloader'), config['batch_size']
        collate_fn = collate_of(config)
    available = len(dataset)
    if samples > available:
        noun = noun_of_model(runner.model.base)
        raise ConfigError(f'model.recalibrate is {samples}, but there are only {available:,} training {noun}s')
    chosen = some_at_random(dataset, samples)
    if len(chosen) % batch_size == 1 and len(chosen) > 1:
        chosen.pop()  # a batch of one may have no variance
    return DataLoader(Subset(dataset, chosen), batch_size, collate_fn=collate_fn)


@torch.no_grad()
def _estimate(model: BaseModel, loader: DataLoader, precision: Precision) -> bool:
    """Re-estimate the statistics of one model in place, and return whether it has any."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    with evaluation_mode(model), uncompiled(model):
        for norm in norms:
            norm.train()
        if norms:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore', FutureWarning)  # raised by fvcore's import
                # Imported here because it takes a third of a second, and most runs re-estimate nothing.
                from fvcore.nn import update_bn_stats
            update_bn_stats(_FromBatch(model, precision), loader, num_iters=len(loader), progress=None)
    return bool(norms)


class _FromBatch(nn.Module):
    """A model that takes the batch of a data loader."""

    def __init__(self, model: BaseModel, precision: Precision) -> None:
        super().__init__()
        self.model = model
        self.precision = precision

    def forward(self, batch: dict[str, Any]) -> Any:
        """Run the network on the inputs of a batch, without mixing."""
        with autocast(self.precision, self.model):
            return run_network(self.model, network_inputs(self.model, batch))
