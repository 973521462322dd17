"""Weights of an earlier run as the beginning of a classifier."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from motivation.errors import ArgumentError, ConfigError
from motivation.models.exported_file import SETTINGS, read_exported
from motivation.structures import MODEL_NAMES
from motivation.utils.checkpoint import find_misfit


class SourceWeights(NamedTuple):
    """Where the weights of a classifier are from.

    Attributes:
        said: The source in words.
        classes: Class names that its head was trained for; ``None`` if they are not known or the head is new.
    """

    said: str
    classes: Sequence[str] | None


def head_names(model: nn.Module) -> set[str]:
    """Return the state-dict names of the head of a classifier with a timm ``backbone``; empty for other models.

    The head is what timm replaces for another number of classes, the ``'classifier'`` of its ``pretrained_cfg``.
    """
    backbone = getattr(model, 'backbone', None)
    return set() if backbone is None else {f'backbone.{name}' for name in _head_of(backbone)}


def _head_of(backbone: nn.Module) -> set[str]:
    known = (getattr(backbone, 'pretrained_cfg', None) or {}).get('classifier') or ()
    heads = [known] if isinstance(known, str) else known
    return {name for name in backbone.state_dict() if any(name.startswith(f'{head}.') for head in heads)}


def check_sources(model_name: str, weights: str | None, new_head: bool, model_kwargs: dict[str, Any]) -> None:
    """Check that a classifier's arguments about pretrained weights agree.

    Raises:
        ArgumentError: They exclude one another, or leave open whether weights are loaded.
    """
    given = [name for name in ('pretrained', 'checkpoint_path') if model_kwargs.get(name)]
    if weights is not None and given:
        raise ArgumentError('weights', f'and {given[0]} are both given; leave one out')
    if new_head and weights is None and not given:
        raise ArgumentError('new_head', 'is True, and there are no weights whose head it replaces; leave it out')
    if ':' in model_name and 'pretrained' not in model_kwargs:  # timm would begin with random weights in silence
        raise ArgumentError(
            'pretrained',
            f'must say whether the weights of {model_name!r} are loaded, which names a folder or hub; write '
            'pretrained=True, or False for random weights',
        )


def timm_source(
    model_name: str, model_kwargs: dict[str, Any], backbone: nn.Module, num_classes: int, new_head: bool
) -> SourceWeights | None:
    """Return where the weights that timm loads are from; ``None`` without any.

    Args:
        model_name: Name of the model, or of a folder or hub: ``'local-dir:FOLDER'``, ``'hf-hub:OWNER/MODEL'``.
        model_kwargs: Arguments of :func:`timm.create_model`.
        backbone: The network that it returned.
        num_classes: Its number of classes.
        new_head: Whether its head is new.
    """
    known: dict[str, Any] = getattr(backbone, 'pretrained_cfg', None) or {}
    if model_kwargs.get('checkpoint_path'):
        said, trained = f"the weights of '{model_kwargs['checkpoint_path']}'", num_classes
        names = None
    elif model_kwargs.get('pretrained'):
        kind, _, place = model_name.rpartition(':')
        said = (
            f"the weights of '{place if kind == 'local-dir' else model_name}'" if kind else "timm's pretrained weights"
        )
        trained, names = known.get('num_classes', num_classes), known.get('label_names')
    else:
        return None
    if trained != num_classes:
        return SourceWeights(f'{said}, of {trained} classes, and a new head for {num_classes}', None)
    if new_head:
        return SourceWeights(f'{said} and a new head', None)
    return SourceWeights(said, list(names) if isinstance(names, (list, tuple)) else None)


def renew_head(backbone: nn.Module, fresh: nn.Module) -> None:
    """Copy the head of a network into another one of the same shapes, in place.

    Raises:
        ArgumentError: The head is not known.
    """
    head, given = _head_of(backbone), fresh.state_dict()
    if not head:
        raise ArgumentError('new_head', 'is True, and timm does not say what the head of this network is; leave it out')
    backbone.load_state_dict({**backbone.state_dict(), **{name: given[name] for name in head}})


@torch.no_grad()
def load_source(model: Any, weights: str, new_head: bool) -> SourceWeights:
    """Load weights that were trained here into a classifier, in place.

    The head stays as it was built with ``new_head``, or if the source has another number of classes.

    Args:
        model: A classifier with a timm ``backbone``.
        weights: An exported ``.pth``, a folder in timm's layout, or the folder of a run, of whose models the one that fits
            is taken.
        new_head: Whether the head is not taken over.

    Raises:
        ArgumentError: There are no such weights, they do not fit, or images were normalised differently.
    """
    path = Path(weights)
    files = [path / f'{name}.pth' for name in MODEL_NAMES if (path / f'{name}.pth').is_file()]
    if not path.is_dir() or (path / SETTINGS).is_file():
        files = [path]
    if not files:
        raise ArgumentError(
            'weights', f'is {weights!r}, a folder without base.pth, motivated.pth or {SETTINGS}; give a finished run'
        )
    sources = {file: _read(file) for file in files}
    misfits = {file: _misfit(model, source) for file, source in sources.items()}
    fitting = [file for file, misfit in misfits.items() if not misfit]
    if len(fitting) != 1:
        problem = '; '.join(f'of {str(file)!r} {misfit}' for file, misfit in misfits.items() if misfit)
        raise ArgumentError('weights', f'is {weights!r}, ' + (
            f'which does not fit {model.model_name}: {problem}; give weights of the same network'
            if problem else 'of which both models fit; name one of the files'
        ))  # fmt: skip
    return _take_over(model, fitting[0], sources[fitting[0]], new_head)


def _read(file: Path) -> dict[str, Any]:
    try:
        return read_exported(file)
    except ConfigError as error:
        raise ArgumentError('weights', f'cannot be read: {error}') from error


def _own(model: Any) -> tuple[dict[str, Tensor], set[str]]:
    """Return the tensors of the backbone by name, and the names of those of the head."""
    return model.backbone.state_dict(), {name.removeprefix('backbone.') for name in head_names(model)}


def _misfit(model: Any, source: dict[str, Any]) -> str:
    """Return what does not fit by name, shape or type, apart from the number of classes; ``''`` if all does."""
    (own, head), given = _own(model), source['state_dict']
    if source['config'].get('stem') != model.stem:
        return f'the stem is {source["config"].get("stem")!r} and here {model.stem!r}'
    resized = {name: own[name] for name in head & given.keys() if own[name].shape[1:] == given[name].shape[1:]}
    misfit = find_misfit({**given, **resized}, own)
    return misfit or next(
        (f'{name!r} is {given[name].dtype}' for name in own if given[name].dtype != own[name].dtype), ''
    )


def _take_over(model: Any, file: Path, source: dict[str, Any], new_head: bool) -> SourceWeights:
    (own, head), given = _own(model), source['state_dict']
    _check_normalisation(model, file, source)
    said, classes = f"the weights of '{file}'", source.get('metainfo', {}).get('classes')
    if new_head or any(given[name].shape != own[name].shape for name in head):
        counts = {len(given[name]) for name in head} | ({len(classes)} if classes else set())
        said += f', trained on {min(counts)} classes, and a new head for {model.num_classes}' if counts else ''
        given, classes = {**given, **{name: own[name] for name in head}}, None
    model.backbone.load_state_dict(given)
    return SourceWeights(said, classes)


def _check_normalisation(model: Any, file: Path, source: dict[str, Any]) -> None:
    known = {**source['config'], **source.get('metainfo', {}), **source}
    for name in ('mean', 'std'):
        ours = getattr(model.data_preprocessor, name).flatten()
        theirs = known.get(name)
        if theirs is not None and not torch.allclose(ours, torch.tensor(theirs, dtype=ours.dtype), atol=1e-6):
            raise ArgumentError(
                'weights',
                f"'{file}' were trained on images normalised with {name} {list(theirs)}, and here it is "
                f'{[round(value, 6) for value in ours.tolist()]}; give {name}={list(theirs)}',
            )
