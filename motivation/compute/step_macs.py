"""MACs of a training step, counted from the operators that it dispatches on fake tensors."""

import math
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
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
from motivation.utils.fake_tensors import asked_device, quiet_fake_tensors
from motivation.utils.random_state import seed_everything
from motivation.utils.training_mode import evaluation_mode


class Dispatched(NamedTuple):
    """MACs of a whole batch as pairs of forward and backward MACs.

    Attributes:
        modules: MACs of each module, with its children, by dotted name; ``''`` is the whole model.
        operators: MACs by operator.
    """

    modules: dict[str, tuple[int, int]]
    operators: dict[str, tuple[int, int]]

    @property
    def forward(self) -> int:
        """MACs of the forward pass."""
        return self.modules[''][0]

    @property
    def backward(self) -> int:
        """MACs of the backward pass."""
        return self.modules[''][1]

    def same_forward(self, other: 'Dispatched') -> bool:
        """Whether two forward passes have the same MACs by operator."""
        ours, theirs = ({name: macs for name, (macs, _) in count.operators.items() if macs} for count in (self, other))
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
    """Gradients of inputs, states and both weights, all of which the kernel always computes."""
    return 2 * _recurrent(inputs, weight, recurrent_weight)


# MACs from shapes in place of tensors, for operators that torch counts wrongly or not at all.
_FORMULAS: dict[Any, Callable[..., int]] = {
    torch.ops.aten.convolution_backward: _convolution_backward,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    # One layer and direction of an LSTM; other recurrent layers are dispatched as matrix products.
    torch.ops.aten.mkldnn_rnn_layer: _recurrent,
    torch.ops.aten.mkldnn_rnn_layer_backward: _recurrent_backward,
    torch.ops.aten.mv: lambda matrix, vector, **_: math.prod(matrix),
    torch.ops.aten.dot: lambda left, right, **_: math.prod(left),
    torch.ops.aten.vdot: lambda left, right, **_: math.prod(left),
    torch.ops.aten.addmv: lambda bias, matrix, vector, **_: math.prod(matrix),
    torch.ops.aten.addbmm: lambda bias, left, right, **_: math.prod(left) * right[-1],
}


class _MacsCounter(TorchDispatchMode):
    """Adds up the MACs of dispatched operators, and raises an error for those that multiply without a formula.

    Args:
        tracker: Tracks the running modules, to count MACs by module; or ``None``.
        fake: Whether tensors are fake, so that shortcuts may be used.
    """

    def __init__(self, tracker: ModuleTracker | None, fake: bool) -> None:
        super().__init__()
        self.tracker = tracker
        self._shortcuts = SHORTCUTS if fake else {}
        self.macs: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
        self.operators: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
        self._custom = {formulas.operator_of(name): name for name in formulas.CUSTOM}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        device = asked_device(func, args)
        if device is not None:
            return device
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


class _NoStep(torch.optim.SGD):
    """An optimizer that does not change weights; the arithmetic of optimizers is not counted."""

    def step(self, closure: Any = None) -> Any:
        """Call the closure only."""
        return None if closure is None else closure()


class _ForwardOnly(OptimWrapper):
    """An optimizer wrapper that computes no gradients."""

    def update_params(self, loss: Tensor, *_: Any, **__: Any) -> None:
        """Do nothing."""

    def backward(self, loss: Tensor, **_: Any) -> None:
        """Do nothing."""


class StepCounter:
    """Counts the MACs of a model on a copy of it.

    The copy has fake tensors, which compute nothing. If the model reads values, as ``.item()`` does, that run is
    repeated on a copy with real tensors. Nothing of the model changes, nor does any random state.

    Args:
        model: The model, counted in the mode (training or evaluation) that it has at the first count.

    Attributes:
        asked_for_values: Whether the model has read values.
    """

    def __init__(self, model: nn.Module) -> None:
        self.asked_for_values = False
        self._model = model
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)
        self._copied: Any = None

    def train_step(
        self, data: dict[str, Any], distillation: bool = False, by_module: bool = False, backward: bool = True
    ) -> Dispatched:
        """Count the MACs of one training step, the model's ``train_step``.

        Args:
            data: A batch as the data loader returns it.
            distillation: Whether to count a step of in-place distillation instead. Default: ``False``.
            by_module: Whether to count by module; the only module is ``''`` otherwise. Default: ``False``.
            backward: Whether to run the backward pass. Default: ``True``.

        Raises:
            ConfigError: An operator that multiplies has no formula.
        """
        wrapper = OptimWrapper if backward else _ForwardOnly

        def run(copied: BaseModel, given: dict[str, Any]) -> None:
            optim_wrapper = wrapper(_NoStep(copied.parameters(), lr=0.0))
            if distillation:
                _distillation_step(copied, given, optim_wrapper)
            else:
                copied.train_step(given, optim_wrapper)

        return self._count(data, run, by_module)

    def forward(self, inputs: Inputs, evaluation: bool = False, by_module: bool = False) -> Dispatched:
        """Count the MACs of one forward pass.

        Args:
            inputs: The model's input, or its inputs by name.
            evaluation: Whether to run in evaluation mode. Default: ``False``.
            by_module: Whether to count by module. Default: ``False``.

        Raises:
            ConfigError: An operator that multiplies has no formula.
        """

        def run(copied: nn.Module, given: dict[str, Any]) -> None:
            with evaluation_mode(copied) if evaluation else nullcontext():
                run_network(copied, given)

        return self._count({'inputs': inputs} if isinstance(inputs, Tensor) else dict(inputs), run, by_module)

    def _count(self, data: dict[str, Any], run: Callable[[Any, dict[str, Any]], Any], by_module: bool) -> Dispatched:
        with isolated():
            seed_everything(samples_in(data))  # another seed for each size, so that random compute is detected
            try:
                with quiet_fake_tensors(), self._fake:
                    if self._copied is None:
                        self._copied = fake_copy(self._model, self._fake)
                    return _count_copy(self._copied, tree_map(_faked(self._fake), data), run, by_module, fake=True)
            except ConfigError:
                raise
            except Exception:  # the model reads values, which fake tensors do not have
                self.asked_for_values, self._copied = True, None  # the copy stopped in the middle of a step
                return _count_copy(plain_copy(self._model), tree_map(_contiguous, data), run, by_module, fake=False)


def count_train_step(model: BaseModel, data: dict[str, Any], by_module: bool = False) -> Dispatched:
    """Count the MACs of one training step, see :meth:`StepCounter.train_step`."""
    return StepCounter(model).train_step(data, by_module=by_module)


def dispatch_forward(network: nn.Module, inputs: Inputs, by_module: bool = False) -> Dispatched:
    """Count the MACs of one forward pass, see :meth:`StepCounter.forward`."""
    return StepCounter(network).forward(inputs, by_module=by_module)


def _faked(fake: FakeTensorMode) -> Callable[[Any], Any]:
    return lambda value: _contiguous(fake.from_tensor(value)) if isinstance(value, Tensor) else value


def _contiguous(value: Any) -> Any:
    """Return a contiguous tensor, because a large batch is an expanded view of one sample, which is read-only."""
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
