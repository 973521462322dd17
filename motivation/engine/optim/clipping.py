"""Clipping of gradients: by their norm, by their value, or by the norm of the weights."""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatch
from typing import Annotated, Any

from annotated_types import Gt
from timm.utils import adaptive_clip_grad
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from motivation.errors import ArgumentError, near_matches, shortened
from motivation.utils.arguments import arguments_of, build_nested, checked

Positive = Annotated[float, Gt(0)]


class AdaptiveClipping:
    """Clips the gradient of each unit to a share of the norm of its weights (Brock et al., arXiv 2102.06171, eq. 3).

    Args:
        clip_factor: Largest ratio of the norms of gradient and weights of an output unit, above 0. Default: 0.01.
        eps: Least norm of weights, for those that begin at zero. Default: 0.001.
        norm_type: Order of the norms. Default: 2.
        exclude: Patterns (``fnmatch``) of names of parameters that are not clipped; ``None`` (default) for those of
            the classifier, as in the paper.

    Raises:
        ArgumentError: An argument is invalid.

    Example:
        >>> optim_wrapper = dict(clip_grad=dict(type='agc', clip_factor=0.02))
    """

    @checked
    def __init__(
        self,
        clip_factor: Positive = 0.01,
        eps: Positive = 1e-3,
        norm_type: Positive = 2.0,
        exclude: Sequence[str] | None = None,
    ) -> None:
        self.options = {'clip_factor': clip_factor, 'eps': eps, 'norm_type': norm_type}
        self.exclude = exclude

    def function(self, model: nn.Module) -> Callable[..., None]:
        """Return the function that clips the gradients of a model's parameters, with the options as arguments.

        Raises:
            ArgumentError: A pattern matches no parameter, or the model's classifier is not known.
        """
        spared = {id(parameter) for parameter in self._excluded(model)}

        def clip(parameters: Sequence[Tensor], **options: float) -> None:
            adaptive_clip_grad([parameter for parameter in parameters if id(parameter) not in spared], **options)

        return clip

    def _excluded(self, model: nn.Module) -> list[nn.Parameter]:
        parameters = dict(model.named_parameters())
        if self.exclude is not None:
            for pattern in self.exclude:
                if not any(fnmatch(name, pattern) for name in parameters):
                    raise ArgumentError(
                        'clip_grad.exclude',
                        f'has {pattern!r}, which matches no parameter; {near_matches(pattern, parameters)}',
                    )
            return [
                parameter
                for name, parameter in parameters.items()
                if any(fnmatch(name, pattern) for pattern in self.exclude)
            ]
        network = model if hasattr(model, 'get_classifier') else getattr(model, 'backbone', None)
        if not hasattr(network, 'get_classifier'):
            raise ArgumentError(
                'clip_grad.exclude',
                f'is missing, and {type(model).__name__} has no get_classifier() that says which parameters are the '
                "classifier's; give exclude=['head.*'], or exclude=[] to clip all",
            )
        heads = network.get_classifier()  # type: ignore[union-attr, operator]
        heads = heads if isinstance(heads, (tuple, list)) else [heads]
        return [parameter for head in heads for parameter in head.parameters()]


_KINDS: dict[str, Any] = {'norm': clip_grad_norm_, 'value': clip_grad_value_, 'agc': AdaptiveClipping}


def adaptive_clipping(clip_grad: Mapping[str, Any] | None) -> AdaptiveClipping | None:
    """Check the arguments of a kind of clipping, and return the adaptive one, which MMEngine does not have.

    Args:
        clip_grad: ``type`` (``'norm'`` by default, ``'value'`` or ``'agc'``) and the arguments of that kind.

    Raises:
        ArgumentError: The kind is unknown, or has no such argument.
    """
    if clip_grad is None:
        return None
    kind = clip_grad.get('type', 'norm')
    if kind not in _KINDS:
        raise ArgumentError('clip_grad.type', f'must be {" or ".join(map(repr, _KINDS))}, got {shortened(kind)}')
    given = {name: value for name, value in clip_grad.items() if name != 'type'}
    if kind == 'agc':
        return build_nested(AdaptiveClipping, 'clip_grad', given)
    known = arguments_of(_KINDS[kind])[0].keys() - {'parameters'}
    for name in given.keys() - known:
        raise ArgumentError(f'clip_grad.{name}', f'is not an argument of type {kind!r}; {near_matches(name, known)}')
    needed = {'norm': 'max_norm', 'value': 'clip_value'}[kind]
    if needed not in given:
        raise ArgumentError(f'clip_grad.{needed}', f'is missing; clipping of type {kind!r} needs it')
    return None
