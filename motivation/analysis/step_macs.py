"""Multiply-accumulates of a real training step, by the operators it dispatches over fake tensors."""

import math
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from motivation.analysis import formulas
from motivation.analysis.isolation import fake_copy, isolated


def _convolution_backward(
    grad_output: Any, inputs: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool,
    output_padding: Any, groups: int, output_mask: list[bool], **_: Any,
) -> int:  # fmt: skip
    return 2 * formulas.convolution_backward_macs(grad_output, inputs, weight, transposed, output_mask)


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return 2 * formulas.attention_macs(query, key, value)


def _attention_backward(grad_output: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return 2 * formulas.attention_backward_macs(query, key, value)


def _recurrent(inputs: Any, weight: Any, recurrent_weight: Any, *_: Any, **__: Any) -> int:
    return 2 * formulas.recurrent_macs(inputs, [weight, recurrent_weight])


def _recurrent_backward(inputs: Any, weight: Any, recurrent_weight: Any, *_: Any, **__: Any) -> int:
    """Gradients to the inputs, to all states and to both weights, needed or not: the kernel has no mask."""
    return 2 * _recurrent(inputs, weight, recurrent_weight)


# FLOPs, from shapes in place of tensors: what torch counts wrongly, or not at all.
_FORMULAS = {
    torch.ops.aten.convolution_backward: _convolution_backward,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    # One layer and direction of an LSTM; torch dispatches other recurrent layers as matrix products, step by step.
    torch.ops.aten.mkldnn_rnn_layer: _recurrent,
    torch.ops.aten.mkldnn_rnn_layer_backward: _recurrent_backward,
    torch.ops.aten.mv: lambda matrix, vector, **_: 2 * math.prod(matrix),
    torch.ops.aten.dot: lambda left, right, **_: 2 * math.prod(left),
    torch.ops.aten.vdot: lambda left, right, **_: 2 * math.prod(left),
    torch.ops.aten.addmv: lambda bias, matrix, vector, **_: 2 * math.prod(matrix),
    torch.ops.aten.addbmm: lambda bias, left, right, **_: 2 * math.prod(left) * right[-1],
}


class _NothingUncounted(TorchDispatchMode):
    """Refuses operators that multiply and have no formula."""

    def __init__(self, mapping: dict[Any, Any]) -> None:
        super().__init__()
        self.known = {*flop_registry, *mapping}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        operator = func._schema.name
        if func._overloadpacket not in self.known and formulas.needs_formula(operator):
            raise formulas.missing_formula(operator)
        return func(*args, **(kwargs or {}))


def _custom_formula(macs: Any) -> Any:
    def flops(*args: Any, out_val: Any, **kwargs: Any) -> int:
        output = out_val[0] if isinstance(out_val, (tuple, list)) else out_val
        shapes = {name: formulas.shape_of(value) for name, value in kwargs.items()}
        return 2 * macs(*map(formulas.shape_of, args), **shapes, output=list(output.shape))

    flops._get_raw = True  # type: ignore[attr-defined]  # torch hands such a formula the tensors themselves
    return flops


def _mapping() -> dict[Any, Any]:
    """All corrections and additions to torch's own formulas."""
    custom = {}
    for name, macs in formulas.CUSTOM.items():
        namespace, operator = name.split('::')
        custom[getattr(getattr(torch.ops, namespace), operator)] = _custom_formula(macs)
    return {**_FORMULAS, **custom}


def count_train_step(model: BaseModel, data: dict[str, Tensor]) -> tuple[int, int]:
    """MACs of forward and backward of one training step, dispatched over fake tensors.

    Nothing is computed and nothing of the model changes: weights, statistics, gradients, random
    state.

    Args:
        model: A model in training mode.
        data: A batch as its data preprocessor returns it.

    Returns:
        Forward MACs and backward MACs of the whole batch.

    Raises:
        ConfigError: An operator multiplies, and there is no formula for it.
    """
    mapping = _mapping()
    with isolated(), FakeTensorMode(allow_non_fake_inputs=True) as fake, _NothingUncounted(mapping):
        copied = fake_copy(model, fake)
        fake_data = {name: fake.from_tensor(tensor) for name, tensor in data.items()}
        with FlopCounterMode(display=False, custom_mapping=mapping) as forward:
            loss, _ = copied.parse_losses(copied(**fake_data, mode='loss'))
        with FlopCounterMode(display=False, custom_mapping=mapping) as backward:
            loss.backward()
    return forward.get_total_flops() // 2, backward.get_total_flops() // 2


def detail_train_step(model: BaseModel, data: dict[str, Tensor]) -> dict[str, dict[str, list[int]]]:
    """MACs of one training step by stage and by operator.

    Args:
        model: A model in training mode; left untouched.
        data: A batch as its data preprocessor returns it.

    Returns:
        ``'stages'``: forward and backward MACs of each child of the model's ``backbone`` (of the model
        itself, if it has none) that multiplies; ``'operators'``: of each operator of torch.

    Raises:
        ConfigError: An operator multiplies, and there is no formula for it.
    """
    mapping = _mapping()
    counter = FlopCounterMode(display=False, custom_mapping=mapping)
    with isolated(), FakeTensorMode(allow_non_fake_inputs=True) as fake, _NothingUncounted(mapping), counter:
        copied = fake_copy(model, fake)
        fake_data = {name: fake.from_tensor(tensor) for name, tensor in data.items()}
        loss, _ = copied.parse_losses(copied(**fake_data, mode='loss'))
        forward = {name: dict(flops) for name, flops in counter.get_flop_counts().items()}
        loss.backward()
    both = counter.get_flop_counts()

    def split(name: str) -> list[int]:
        ahead = sum(forward.get(name, {}).values()) // 2
        return [ahead, sum(both[name].values()) // 2 - ahead]

    root = f'{type(copied).__name__}.' + ('backbone.' if hasattr(copied, 'backbone') else '')
    stages = {
        name.removeprefix(root): split(name)
        for name in both
        if name.startswith(root) and '.' not in name.removeprefix(root) and forward.get(name)
    }
    operators = {
        str(operator): [forward['Global'].get(operator, 0) // 2, (flops - forward['Global'].get(operator, 0)) // 2]
        for operator, flops in both['Global'].items()
    }
    return {'stages': stages, 'operators': operators}


def dispatch_forward(network: nn.Module, inputs: Tensor) -> dict[str, int]:
    """MACs of one forward pass by module, dispatched over fake tensors.

    Args:
        network: Left untouched, in the mode (training or evaluation) it is in.
        inputs: Its input, (N, C, H, W).

    Returns:
        MACs of all N images together, of each module by its dotted name, its children's included;
        ``''`` is all.

    Raises:
        ConfigError: An operator multiplies, and there is no formula for it.
    """
    mapping = _mapping()
    counter = FlopCounterMode(display=False, custom_mapping=mapping)
    with isolated(), FakeTensorMode(allow_non_fake_inputs=True) as fake, _NothingUncounted(mapping), counter:
        copied = fake_copy(network, fake)
        copied(fake.from_tensor(inputs))
    counts = {name: sum(flops.values()) // 2 for name, flops in counter.get_flop_counts().items()}
    root = type(copied).__name__
    inner = {name.removeprefix(f'{root}.'): macs for name, macs in counts.items() if name.startswith(f'{root}.')}
    return {'': counter.get_total_flops() // 2, **inner}
