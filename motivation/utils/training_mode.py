"""Context managers that run models in another mode and restore it afterwards."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn


def evaluation_mode(*models: nn.Module) -> AbstractContextManager[None]:
    """Set models to evaluation mode, and restore the mode of every module on exit."""
    return _mode(models, training=False)


def training_mode(*models: nn.Module) -> AbstractContextManager[None]:
    """Set models to training mode, and restore the mode of every module on exit."""
    return _mode(models, training=True)


def uncompiled(*models: nn.Module) -> AbstractContextManager[object]:
    """Run models eagerly even if they are compiled, for calls that are too rare to be worth compiling."""
    compiled = any(model._compiled_call_impl is not None for model in models)
    return torch.compiler.set_stance('force_eager') if compiled else nullcontext()


@contextmanager
def unfused_attention() -> Iterator[None]:
    """Disable the fused path of ``nn.MultiheadAttention`` in evaluation mode, which hides its operators."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


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
