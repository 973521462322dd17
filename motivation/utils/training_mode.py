"""A look at a model in another mode, without changing the mode that training left it in."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn


def evaluation_mode(*models: nn.Module) -> AbstractContextManager[None]:
    """Put models in evaluation mode; at the end every module has the mode it had."""
    return _mode(models, training=False)


def training_mode(*models: nn.Module) -> AbstractContextManager[None]:
    """Put models in training mode; at the end every module has the mode it had."""
    return _mode(models, training=True)


def uncompiled(*models: nn.Module) -> AbstractContextManager[object]:
    """Run models as written where they were compiled in place, for what is done too rarely to compile it."""
    compiled = any(model._compiled_call_impl is not None for model in models)
    return torch.compiler.set_stance('force_eager') if compiled else nullcontext()


@contextmanager
def _mode(models: tuple[nn.Module, ...], training: bool) -> Iterator[None]:
    modes = {module: module.training for model in models for module in model.modules()}
    for model in models:
        model.train(training)
    try:
        yield
    finally:
        for module, was_training in modes.items():
            module.training = was_training
