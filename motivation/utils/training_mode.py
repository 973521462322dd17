"""Context managers that run models in another mode and restore it afterwards."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

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
def unfused_attention(*models: nn.Module) -> Iterator[None]:
    """Disable the fused path of ``nn.MultiheadAttention`` in evaluation mode, which hides its operators.

    Args:
        *models: Models whose timm attention is computed as matrix products and softmax, too. Default: none.
    """
    enabled = torch.backends.mha.get_fastpath_enabled()
    fused: list[Any] = [
        module for model in models for module in model.modules() if getattr(module, 'fused_attn', False)
    ]
    torch.backends.mha.set_fastpath_enabled(False)
    for module in fused:
        module.fused_attn = False
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
        for module in fused:
            module.fused_attn = True


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
