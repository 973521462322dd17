"""Pretrained weights: from which of the two models both begin, and what becomes of the weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from motivation.errors import ArgumentError, ConfigError
from motivation.structures import MODEL_NAMES, ModelName
from motivation.weight_maps import WeightMap, zero_extension

Extension = Literal['zero', 'default']

_READ: ContextVar[bool] = ContextVar('_READ', default=True)


@contextmanager
def unread_sources() -> Iterator[None]:
    """Build classifiers within the context without their pretrained weights, which a checkpoint is going to replace.

    Nothing is read or downloaded, so that a run resumes where its sources are gone.
    """
    token = _READ.set(False)
    try:
        yield
    finally:
        _READ.reset(token)


def reads_sources() -> bool:
    """Whether pretrained weights are read, see :func:`unread_sources`."""
    return _READ.get()


class Pretraining(NamedTuple):
    """What becomes of pretrained weights before the first step.

    Attributes:
        start: The model from whose weights both begin.
        source: Where these weights are from, in words.
        zero: Whether the motivated model begins as the function of a pretrained base model.
        replaced: Number of tensors of a motivated model that is pretrained as well which the first transfer overwrites,
            in whole or in part.
        zeroed: Number of its other tensors that the zero extension changes.
        tensors: Number of all its parameters and buffers; 0 if it is not pretrained as well.
        reestimated: Number of training images on which the statistics of a base model that was cut out were
            re-estimated.
    """

    start: ModelName
    source: str
    zero: bool = False
    replaced: int = 0
    zeroed: int = 0
    tensors: int = 0
    reestimated: int = 0

    def __str__(self) -> str:
        if self.start == 'motivated':
            counted = (
                f'; its statistics are re-estimated on {self.reestimated:,} training samples'
                if self.reestimated
                else ''
            )
            return (
                f'the motivated model has {self.source}, and the base model is cut out of it by the weight map{counted}'
            )
        begins = 'begins as its function' if self.zero else 'takes them over where it contains it'
        lost = ''
        if self.tensors:
            zeroed = f", and extension='zero' zeroes {self.zeroed}" if self.zeroed else ''
            lost = f'; of {self.tensors} pretrained tensors of the motivated model {self.replaced} are replaced{zeroed}'
        return f'the base model has {self.source}, and the motivated model {begins}{lost}'


class LoadedRun(NamedTuple):
    """What a run that begins with the models of an earlier one has of them.

    Attributes:
        path: Path of the checkpoint.
        heads: Whether the heads are those of the checkpoint (``'kept'``), the same although trained on other classes
            (``'others'``), or new (``'new'``).
    """

    path: str
    heads: Literal['kept', 'others', 'new']

    def __str__(self) -> str:
        heads = {
            'kept': '',
            'others': ', and keep its heads, which were trained on other classes',
            'new': ', and new heads for another number of classes',
        }
        return f"both models have the weights of '{self.path}'{heads[self.heads]}"


def find_start(base: nn.Module, motivated: nn.Module, start: ModelName | None) -> ModelName | None:
    """Return from which pretrained model both begin; ``None`` if neither is pretrained.

    Args:
        base: The base model.
        motivated: The motivated model.
        start: What the config says; ``None`` for the one that is pretrained.

    Raises:
        ArgumentError: Both are pretrained and ``start`` is ``None``, or the model that it names is not pretrained.
    """
    pretrained = [name for name, model in zip(MODEL_NAMES, (base, motivated), strict=True) if is_pretrained(model)]
    if start is None:
        if len(pretrained) > 1:
            raise ArgumentError(
                'start',
                "must say which of the two pretrained models both begin from, got None; write 'base' (the motivated model "
                "begins as the base model's function) or 'motivated' (the base model is cut out of the motivated model)",
            )
        return pretrained[0] if pretrained else None
    if start not in pretrained:
        raise ArgumentError(
            'start',
            f'is {start!r}, and model.{start} has no pretrained weights; give it weights=..., checkpoint_path=... or '
            'pretrained=True, or leave start out',
        )
    return start


def find_extension(extension: Extension | None, start: ModelName | None) -> Extension:
    """Return how the extension begins.

    Raises:
        ArgumentError: It is ``'zero'``, and the base model is cut out of a pretrained motivated model.
    """
    if start != 'motivated':
        return extension or 'zero'
    if extension == 'zero':
        raise ArgumentError(
            'extension',
            "must be 'default' with start='motivated', got 'zero', which would destroy the pretrained weights; leave it out",
        )
    return 'default'


@torch.no_grad()
def begin(
    weight_map: WeightMap, start: ModelName | None, extension: Extension, statistics: bool
) -> tuple[list[str], Pretraining | None]:
    """Give both models the weights that they begin with, in place.

    With ``start='motivated'`` the base model becomes the image of the motivated model, heads and running statistics
    included, and the motivated model stays as it is (weight selection: Xu et al., arXiv 2311.18823). Otherwise the
    extension becomes zero if asked for.

    Args:
        weight_map: The map of the two models.
        start: The pretrained model from which both begin, of :func:`find_start`.
        extension: How the extension begins, of :func:`find_extension`.
        statistics: Whether running statistics are transferred at the first activation.

    Returns:
        Why the motivated model does not begin as the base model's function with ``extension='zero'``, a sentence each;
        and what becomes of pretrained weights, ``None`` if there are none or a checkpoint replaces them.
    """
    base, motivated = weight_map.model('base'), weight_map.model('motivated')
    if start == 'motivated':
        weight_map.transfer('motivated', statistics=True)
        return [], Pretraining('motivated', _source(motivated)) if reads_sources() else None
    given = _copy(motivated) if is_pretrained(motivated) else None
    caveats = []
    if extension == 'zero':
        try:
            caveats = zero_extension(weight_map)
        except ConfigError as error:  # a model that cannot be traced still trains
            caveats = [str(error)]
    if start is None or not reads_sources():
        return caveats, None
    counts = {} if given is None else _count_changes(weight_map, given, statistics)
    return caveats, Pretraining('base', _source(base), extension == 'zero', **counts)


def _count_changes(weight_map: WeightMap, given: dict[str, Tensor], statistics: bool) -> dict[str, int]:
    """Count the given weights of the motivated model that the first transfer and the extension change."""
    motivated = weight_map.model('motivated')
    initial = _copy(motivated)
    weight_map.transfer('base', statistics=statistics)
    changed = {name for name, value in _copy(motivated).items() if not value.equal(given[name])}
    for name, tensor in weight_map.tensors('motivated').items():
        tensor.copy_(initial[name])
    replaced = changed & {pair.motivated for pair in weight_map.pairs}
    return {'replaced': len(replaced), 'zeroed': len(changed - replaced), 'tensors': len(given)}


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items() if isinstance(value, Tensor)}


def _source(model: nn.Module) -> str:
    return getattr(model, 'source', None) or 'pretrained weights'


def is_pretrained(model: nn.Module) -> bool:
    """Whether a model has pretrained weights, according to its ``pretrained`` attribute or its ``init_cfg``."""
    named = (getattr(module, 'init_cfg', None) for module in model.modules())
    return getattr(model, 'pretrained', False) is True or any(map(names_weights, named))


def names_weights(init_cfg: Any) -> bool:
    """Whether an ``init_cfg`` of MMEngine loads weights from a file."""
    if isinstance(init_cfg, (list, tuple)):
        return any(map(names_weights, init_cfg))
    return isinstance(init_cfg, dict) and init_cfg.get('type') == 'Pretrained'
