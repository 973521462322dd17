"""Multiply-accumulates of a real training step, by the operators it dispatches over fake tensors."""

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry
from torch.utils.module_tracker import ModuleTracker

from motivation.compute import formulas
from motivation.compute.isolation import fake_copy, isolated, plain_copy
from motivation.compute.shortcuts import SHORTCUTS
from motivation.errors import ConfigError
from motivation.models.distillation import step_on_logits
from motivation.utils.batches import Inputs, run_network, samples_in, without_targets
from motivation.utils.random_state import seed_everything
from motivation.utils.training_mode import evaluation_mode


class Dispatched(NamedTuple):
    """MACs of what was dispatched: each entry forward and backward, of the whole batch.

    Attributes:
        modules: By module, under its dotted name, its children's included; ``''`` is all.
        operators: By operator of torch.
    """

    modules: dict[str, tuple[int, int]]
    operators: dict[str, tuple[int, int]]

    @property
    def forward(self) -> int:
        """All MACs of the forward pass."""
        return self.modules[''][0]

    @property
    def backward(self) -> int:
        """All MACs of the backward pass."""
        return self.modules[''][1]

    def same_forward(self, other: 'Dispatched') -> bool:
        """Whether two forward passes multiply and add as often, operator by operator."""
        ours, theirs = ({name: macs for name, (macs, _) in one.operators.items() if macs} for one in (self, other))
        return ours == theirs


def _convolution_backward(
    grad_output: Any, inputs: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool,
    output_padding: Any, groups: int, output_mask: list[bool], **_: Any,
) -> int:  # fmt: skip
    return formulas.convolution_backward_macs(grad_output, inputs, weight, transposed, output_mask)


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return formulas.attention_macs(query, key, value)


def _attention_backward(grad_output: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return formulas.attention_backward_macs(query, key, value)


def _recurrent(inputs: Any, weight: Any, recurrent_weight: Any, *_: Any, **__: Any) -> int:
    return formulas.recurrent_macs(inputs, [weight, recurrent_weight])


def _recurrent_backward(inputs: Any, weight: Any, recurrent_weight: Any, *_: Any, **__: Any) -> int:
    """Gradients to the inputs, to all states and to both weights, needed or not: the kernel has no mask."""
    return 2 * _recurrent(inputs, weight, recurrent_weight)


# MACs, from shapes in place of tensors: what torch counts wrongly, or not at all.
_FORMULAS: dict[Any, Callable[..., int]] = {
    torch.ops.aten.convolution_backward: _convolution_backward,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    # One layer and direction of an LSTM; torch dispatches other recurrent layers as matrix products, step by step.
    torch.ops.aten.mkldnn_rnn_layer: _recurrent,
    torch.ops.aten.mkldnn_rnn_layer_backward: _recurrent_backward,
    torch.ops.aten.mv: lambda matrix, vector, **_: math.prod(matrix),
    torch.ops.aten.dot: lambda left, right, **_: math.prod(left),
    torch.ops.aten.vdot: lambda left, right, **_: math.prod(left),
    torch.ops.aten.addmv: lambda bias, matrix, vector, **_: math.prod(matrix),
    torch.ops.aten.addbmm: lambda bias, left, right, **_: math.prod(left) * right[-1],
}


class _MacsCounter(TorchDispatchMode):
    """Adds up the MACs of the operators dispatched; refuses those that multiply and have no formula.

    Args:
        tracker: Knows the modules that are running, if MACs are to be told apart by them.
        fake: Whether the tensors are fake, so that results need only have the right shapes.
    """

    def __init__(self, tracker: ModuleTracker | None, fake: bool) -> None:
        super().__init__()
        self.tracker = tracker
        self._shortcuts = SHORTCUTS if fake else {}
        self.macs: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
        self.operators: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
        self._custom = {formulas.operator_of(name): name for name in formulas.CUSTOM}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        outputs = self._shortcuts.get(func, func)(*args, **kwargs)
        macs = self._macs(func, args, kwargs, outputs)
        if macs:
            in_backward = torch._C._current_graph_task_id() != -1  # as ModuleTracker.is_bw does
            self.operators[in_backward][str(func._overloadpacket)] += macs
            for name in self.tracker.parents if self.tracker is not None else ():
                self.macs[in_backward][name] += macs
        return outputs

    def _macs(self, func: Any, args: Any, kwargs: Any, outputs: Any) -> int:
        operator = func._overloadpacket
        if operator in self._custom:
            first = outputs[0] if isinstance(outputs, (tuple, list)) else outputs
            args, kwargs, shape = tree_map(formulas.shape_of, (args, kwargs, first))
            return formulas.custom_macs(self._custom[operator], *args, **kwargs, output=shape)
        if operator in _FORMULAS:
            args, kwargs = tree_map(formulas.shape_of, (args, kwargs))
            return _FORMULAS[operator](*args, **kwargs)
        if operator in flop_registry:
            return flop_registry[operator](*args, **kwargs, out_val=outputs) // 2
        if formulas.needs_formula(func._schema.name):
            raise formulas.missing_formula(func._schema.name)
        return 0


def _distillation_step(model: BaseModel, data: dict[str, Any], optim_wrapper: OptimWrapper) -> None:
    data = model.data_preprocessor(data, True)
    inputs, targets = without_targets(data), data['targets']
    step_on_logits(model, inputs, optim_wrapper, lambda logits: model.loss(logits, targets))


class _Resting(torch.optim.SGD):
    """An optimizer that leaves weights as they are; its own arithmetic is not counted."""

    def step(self, closure: Any = None) -> Any:
        """Compute what it is asked for, and change nothing."""
        return None if closure is None else closure()


class _ForwardAlone(OptimWrapper):
    """An optimizer wrapper that computes no gradients."""

    def update_params(self, loss: Tensor, *_: Any, **__: Any) -> None:
        """Leave the loss alone."""

    def backward(self, loss: Tensor, **_: Any) -> None:
        """Leave the loss alone."""


class StepCounter:
    """Counts what a model computes, as often as asked, on one copy of it.

    The copy is over fake tensors, which compute nothing. What asks for values, as ``.item()`` does, is
    run on a copy over real ones, made for that run. Of the model nothing changes: weights, statistics,
    gradients, random state.

    Args:
        model: Counted in the mode (training or evaluation) it is in when first asked for.

    Attributes:
        asked_for_values: Whether anything did.
    """

    def __init__(self, model: nn.Module) -> None:
        self.asked_for_values = False
        self._model = model
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)
        self._copied: Any = None

    def train_step(
        self, data: dict[str, Any], distillation: bool = False, by_module: bool = False, backward: bool = True
    ) -> Dispatched:
        """MACs of forward and backward of one training step: the model's own ``train_step``.

        Args:
            data: A batch as the data loader returns it.
            distillation: Count a step of in-place distillation, which is on the model's logits.
            by_module: Tell modules apart; without it the only one is ``''``, all.
            backward: Whether the optimizer wrapper computes gradients.

        Returns:
            MACs of the whole batch.

        Raises:
            ConfigError: An operator multiplies, and there is no formula for it.
        """
        wrapper = OptimWrapper if backward else _ForwardAlone

        def run(copied: BaseModel, given: dict[str, Any]) -> None:
            optim_wrapper = wrapper(_Resting(copied.parameters(), lr=0.0))
            if distillation:
                _distillation_step(copied, given, optim_wrapper)
            else:
                copied.train_step(given, optim_wrapper)

        return self._count(data, run, by_module)

    def forward(self, inputs: Inputs, evaluation: bool = False, by_module: bool = False) -> Dispatched:
        """MACs of one forward pass.

        Args:
            inputs: The model's input, or its inputs by name.
            evaluation: Whether to run it in evaluation mode.
            by_module: As of :meth:`train_step`.

        Returns:
            MACs of all samples together.

        Raises:
            ConfigError: As of :meth:`train_step`.
        """

        def run(copied: nn.Module, given: dict[str, Any]) -> None:
            with evaluation_mode(copied) if evaluation else nullcontext():
                run_network(copied, given)

        return self._count({'inputs': inputs} if isinstance(inputs, Tensor) else dict(inputs), run, by_module)

    def _count(self, data: dict[str, Any], run: Callable[[Any, dict[str, Any]], Any], by_module: bool) -> Dispatched:
        with isolated():
            seed_everything(samples_in(data))  # what is drawn at random is drawn anew for each size
            try:
                with _quiet(), self._fake:
                    if self._copied is None:
                        self._copied = fake_copy(self._model, self._fake)
                    return _count_copy(self._copied, tree_map(_faked(self._fake), data), run, by_module, fake=True)
            except ConfigError:
                raise
            except Exception:  # what is computed depends on values, which only real tensors have
                self.asked_for_values, self._copied = True, None  # left in the middle of a step
                return _count_copy(plain_copy(self._model), tree_map(_contiguous, data), run, by_module, fake=False)


def count_train_step(
    model: BaseModel, data: dict[str, Any], distillation: bool = False, by_module: bool = False
) -> Dispatched:
    """MACs of one training step; arguments, result and errors as of :meth:`StepCounter.train_step`."""
    return StepCounter(model).train_step(data, distillation, by_module)


def dispatch_forward(network: nn.Module, inputs: Inputs, by_module: bool = False) -> Dispatched:
    """MACs of one forward pass; arguments, result and errors as of :meth:`StepCounter.forward`."""
    return StepCounter(network).forward(inputs, by_module=by_module)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's own report of an operator that it does not run over fake tensors."""
    logger = logging.getLogger('torch._subclasses.fake_tensor')
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _faked(fake: FakeTensorMode) -> Callable[[Any], Any]:
    return lambda value: _contiguous(fake.from_tensor(value)) if isinstance(value, Tensor) else value


def _contiguous(value: Any) -> Any:
    """A large batch may be one sample seen many times over, which cannot be written to."""
    return value.contiguous() if isinstance(value, Tensor) else value


def _count_copy(
    copied: nn.Module, data: dict[str, Any], run: Callable[[Any, dict[str, Any]], Any], by_module: bool, fake: bool
) -> Dispatched:
    tracker = ModuleTracker() if by_module else None
    with tracker or nullcontext(), _MacsCounter(tracker, fake) as counter:
        run(copied, data)
    root = f'{type(copied).__name__}.'
    names = dict.fromkeys(name for counts in counter.macs.values() for name in counts if name.startswith(root))
    modules = {name.removeprefix(root): (counter.macs[False][name], counter.macs[True][name]) for name in names}
    operators = {
        name: (counter.operators[False][name], counter.operators[True][name])
        for name in counter.operators[False] | counter.operators[True]
    }
    forward, backward = (sum(counts.values()) for counts in counter.operators.values())
    return Dispatched({'': (forward, backward), **modules}, operators)
