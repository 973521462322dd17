"""One run of a network on fake tensors, recorded with the channel spaces of all its tensors."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from motivation.errors import ConfigError
from motivation.utils.example import Example
from motivation.utils.fake_tensors import asked_device, quiet_fake_tensors
from motivation.utils.training_mode import evaluation_mode, unfused_attention
from motivation.weight_maps.tracing.rules import Call, Spaces, apply, flat, positions
from motivation.weight_maps.tracing.spaces import Space

_SAMPLES = 2  # a size of one would broadcast and not be unified

# Operators whose other arguments are sizes, which may differ between the two models.
_SIZES = {
    'expand', 'slice', 'split', 'split_with_sizes', 'native_group_norm', 'native_layer_norm', 'repeat', 'new_empty',
    'new_zeros', 'new_ones', 'new_full',
}  # fmt: skip

# Operators that depend on the memory layout of tensors or only change their shape.
_LAYOUT = {'view', '_unsafe_view', 'reshape', 'clone', 'contiguous', 'as_strided_', 'alias', 'detach', 't'}

# Norms, and reductions whose result added zeros do not change.
_NORMS = {'native_layer_norm', 'native_group_norm'}
_IGNORES_ZEROS = {'sum', 'linalg_vector_norm'}


def takes_channel_statistics(module: nn.Module) -> bool:
    """Whether a module is a norm over channels (LayerNorm, GroupNorm, RMSNorm), by its class or class name."""
    named = 'Norm' in type(module).__name__ and isinstance(getattr(module, 'weight', None), nn.Parameter)
    batch_norm = isinstance(module, nn.modules.batchnorm._NormBase)
    return isinstance(module, (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)) or (named and not batch_norm)


@dataclass(eq=False)
class Step:
    """An operator call.

    Attributes:
        name: Name of the operator.
        module: Dotted name of the module that called it.
        inputs: The steps that computed its tensor arguments, in order.
        parameters: Names of the parameters and buffers among its arguments, or from which arguments were computed
            without an activation.
        is_constant: Whether it depends on parameters and buffers only.
    """

    name: str
    module: str
    inputs: 'tuple[Step, ...]'
    parameters: frozenset[str]
    is_constant: bool


class Trace:
    """The record of one run of a network.

    Attributes:
        spaces: Spaces of every parameter and buffer, by state-dict name.
        steps: Operator calls that depend on the inputs, in order.
        operations: For each operator call, in order, the module and the operator with the settings that must be equal
            in both models (strides, scales, ...).
        reduced: Modules that take statistics over channels, with the spaces of these.
    """

    def __init__(self) -> None:
        self.spaces: dict[str, Spaces] = {}
        self.steps: list[Step] = []
        self.operations: list[tuple[str, str]] = []
        self.reduced: list[tuple[str, Space]] = []


def trace(model: nn.Module, example: Example) -> Trace:
    """Run a model once on fake tensors, without computing or changing anything, and return the trace.

    Args:
        model: The network.
        example: The source of its inputs.

    Raises:
        ConfigError: The model does not run on these inputs.
    """
    result = Trace()
    try:
        with torch.no_grad(), evaluation_mode(model), unfused_attention(), quiet_fake_tensors():
            fake = FakeTensorMode(allow_non_fake_inputs=True)
            inputs = example.fake_inputs(model, _SAMPLES, fake)
            state = _state(model)
            made = {id(tensor): _faked(tensor, fake) for tensor in state.values()}
            fakes: dict[str, Tensor] = {name: made[id(tensor)] for name, tensor in state.items()}
            # One name per module and tensor: functional_call would not undo a second swap of a tied tensor.
            swapped = {name: fakes[name] for name in _held_names(model)}
            with _entered_modules(model) as stack:
                recorder = _Recorder(result, model, fakes, inputs, stack)
                with fake, recorder:
                    named = {name: value for name, value in inputs.items() if name != 'inputs'}
                    first = (inputs['inputs'],) if 'inputs' in inputs else ()
                    output = torch.func.functional_call(model, swapped, first, named, tie_weights=False)
                recorder.fix_outputs(output)
        recorder.describe_constants(state)
    except Exception as error:  # networks raise errors of any type for inputs that they do not accept
        reason = ' '.join(str(error).split())[:300]
        raise ConfigError(f'{type(model).__name__} does not run on {example}: {reason}; {example.way_out}') from error
    return result


class _Recorder(TorchDispatchMode):
    """Applies the rules to every operator that is dispatched, and records it."""

    def __init__(
        self, result: Trace, model: nn.Module, state: dict[str, Tensor], inputs: dict[str, Any], stack: list[str]
    ) -> None:
        super().__init__()
        self.result = result
        self.norms = {name for name, module in model.named_modules() if takes_channel_statistics(module)}
        self.stack = stack
        # By id of the tensor; all tensors are kept alive, so that no id is reused.
        self.spaces: dict[int, Spaces] = {}
        self.made_by: dict[int, Step] = {}
        self.kept: list[Tensor] = []
        # Tensors that are not weights, whose values must be equal in both models.
        self.constants: dict[int, Tensor] = {}
        self.uses: list[tuple[int, list[int]]] = []
        persistent = model.state_dict()
        self.fixed = {name: tensor for name, tensor in state.items() if name not in persistent}
        self.constants |= {id(tensor): tensor for tensor in self.fixed.values()}
        for name, tensor in state.items():
            if id(tensor) not in self.spaces:  # a tied tensor has several names
                spaces = tuple(Space(size) for size in tensor.shape)
                self._keep(tensor, spaces, Step('state', '', (), frozenset([name]), True))
            self.result.spaces[name] = self.spaces[id(tensor)]
        for tensor in tree_leaves(inputs):
            if isinstance(tensor, Tensor):
                self._keep(tensor, positions(tensor.shape), Step('inputs', '', (), frozenset(), False))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        device = asked_device(func, args)
        if device is not None:
            return device
        kwargs = kwargs or {}
        outputs = func(*args, **kwargs)
        tensors = [output for output in flat([outputs]) if isinstance(output, Tensor)]
        if not tensors:
            return outputs
        name, module = func.overloadpacket.__name__, self.stack[-1]
        call = Call(args, kwargs, self._spaces_of, tensors)
        spaces = apply(func, call)
        for space in call.reduced:
            if name in _IGNORES_ZEROS or name in _NORMS or module in self.norms:
                self.result.reduced.append((module, space))
            else:  # added channels, even of zeros, change a mean or a softmax
                space.fix(f'operator {name!r} over it')
        step = self._step(name, module, args, kwargs)
        if not step.is_constant:
            self.result.steps.append(step)
        if step.inputs and name not in _LAYOUT:
            inputs = [id(arg) for arg in flat([*args, *kwargs.values()]) if isinstance(arg, Tensor)]
            self.uses.append((len(self.result.operations), [key for key in inputs if key in self.constants]))
            self.result.operations.append((module, _describe(name, args, kwargs)))
        for tensor, dimensions in zip(tensors, spaces, strict=True):
            assert [space.size for space in dimensions] == list(tensor.shape), (name, dimensions)
            self._keep(tensor, dimensions, step)
        return outputs

    def fix_outputs(self, output: Any) -> None:
        """Require the same number of outputs in both models."""
        for tensor in flat(list(output.values()) if isinstance(output, dict) else [output]):
            for space in self._spaces_of(tensor):
                space.fix('output')

    def describe_constants(self, state: dict[str, Tensor]) -> None:
        """Add the values of constant operands to the descriptions of operations."""
        held = {id(fake): state[name] for name, fake in self.fixed.items()}
        for place, keys in self.uses:
            if keys:
                module, operation = self.result.operations[place]
                contents = ', '.join(_fingerprint(held.get(key, self.constants[key])) for key in keys)
                self.result.operations[place] = (module, f'{operation} with {contents}')

    def _keep(self, tensor: Tensor, spaces: Spaces, step: Step) -> None:
        self.spaces[id(tensor)], self.made_by[id(tensor)] = spaces, step
        self.kept.append(tensor)

    def _spaces_of(self, tensor: Tensor) -> Spaces:
        if id(tensor) not in self.spaces:  # a constant that is not a buffer
            self.constants[id(tensor)] = tensor
            self._keep(tensor, positions(tensor.shape), Step('constant', '', (), frozenset(), True))
        return self.spaces[id(tensor)]

    def _step(self, name: str, module: str, args: Any, kwargs: dict[str, Any]) -> Step:
        tensors = [arg for arg in flat([*args, *kwargs.values()]) if isinstance(arg, Tensor)]
        for tensor in tensors:
            self._spaces_of(tensor)
        inputs = tuple(self.made_by[id(tensor)] for tensor in tensors)
        constants = [step for step in inputs if step.is_constant]
        parameters = frozenset().union(*(step.parameters for step in constants))
        return Step(name, module, inputs, parameters, len(constants) == len(inputs))


def _describe(name: str, args: Any, kwargs: dict[str, Any]) -> str:
    """Return an operator with its settings, without those that depend on the number of channels."""
    if name in _SIZES:
        return name
    settings = [repr(arg) for arg in args if not any(isinstance(item, Tensor) for item in flat([arg]))]
    if name == 'convolution':
        settings.pop()  # groups, which are the channels of a depthwise convolution
    settings += [f'{key}={value!r}' for key, value in kwargs.items() if not isinstance(value, Tensor)]
    return f'{name}({", ".join(settings)})'


def _faked(tensor: Tensor, fake: FakeTensorMode) -> Tensor:
    """Return a fake tensor; ``from_tensor`` also keeps views and storages, which takes most of the time of a trace."""
    if type(tensor.detach()) is not Tensor or tensor.layout is not torch.strided or tensor.is_meta:
        return fake.from_tensor(tensor.detach())
    described = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device='meta')
    return FakeTensor(fake, described, tensor.device)


def _state(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by all of their names."""
    parameters, buffers = (
        dict(named(remove_duplicate=False)) for named in (model.named_parameters, model.named_buffers)
    )
    return {**parameters, **buffers}


def _held_names(model: nn.Module) -> Iterator[str]:
    """Yield one name for every parameter and buffer of every module, including tied ones."""
    for prefix, module in model.named_modules():
        for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if tensor is not None:
                yield f'{prefix}.{name}' if prefix else name


def _fingerprint(tensor: Tensor) -> str:
    if tensor.numel() and bool((tensor == tensor.reshape(-1)[0]).all()):
        return f'a constant of {tensor.reshape(-1)[0].item()}'  # of any size
    entries = tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
    return f'a constant of {tuple(tensor.shape)}, {zlib.crc32(entries):08x}'


@contextmanager
def _entered_modules(model: nn.Module) -> Iterator[list[str]]:
    """Maintain a stack of the names of the running modules, innermost last."""
    names = {module: name for name, module in model.named_modules()}
    stack = ['']

    def enter(module: nn.Module, args: Any) -> None:
        stack.append(names.get(module, stack[-1]))

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        stack.pop()

    handles = register_module_forward_pre_hook(enter), register_module_forward_hook(leave)
    try:
        yield stack
    finally:
        for handle in handles:
            handle.remove()
