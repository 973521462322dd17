"""Writing models as ExecuTorch programs, the format for phones."""

from collections import Counter
from operator import getitem
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from motivation.errors import ConfigError, counted, one_line
from motivation.export.deployable import Deployable
from motivation.export.exporter import RUNTIMES, Exporter
from motivation.registry import EXPORTERS
from motivation.utils.files import write_whole
from motivation.utils.quiet import quiet_libraries
from motivation.utils.training_mode import unfused_attention

if TYPE_CHECKING:
    from executorch.exir import EdgeProgramManager
    from torch.export import ExportedProgram


@EXPORTERS.register_module(name='executorch')
class ExecutorchProgram(Exporter):
    """Writes a ``.pte`` file: an ExecuTorch program that XNNPACK computes, on the CPUs of Android, iOS and Linux.

    It takes one image at a time, (1, C, H, W). A batch of variable size would reserve memory for the largest on the
    phone, split the graph into more parts (123 instead of 62 of a ViT-Tiny), and take longer to lower.
    """

    file = 'model.pte'
    packages: ClassVar[dict[str, str]] = {'executorch': 'executorch'}
    runtime = RUNTIMES / 'executorch_program.py'
    largest_batch = 1
    loading = """\
from executorch.runtime import Runtime

program = Runtime.get().load_program('{file}')
(logits,) = program.load_method('forward').execute([images])  # tensors, one image at a time: (1, C, H, W)
"""
    int8 = 'executorch_int8'

    def export(self, deployable: Deployable, images: Tensor, path: Path) -> None:
        """Write a model; see :meth:`Exporter.export`."""
        network, example = deployable.network(), deployable.inputs(images[:1])
        with quiet_libraries():
            edge = lower(capture(network, example))
        write_program(edge, path)


def capture(network: nn.Module, example: Tensor) -> 'ExportedProgram':
    """Trace a network with ``torch.export``.

    Attention is traced as its matrix products and softmax: the fused operator is not one that XNNPACK computes, and
    decomposing it while lowering takes several times as long.

    Args:
        network: Takes and returns one tensor.
        example: Its input, of the shape and dtype that the program will take.

    Raises:
        ConfigError: ``torch.export`` cannot trace the network.
    """
    with torch.no_grad(), unfused_attention(network):
        try:
            return torch.export.export(network, (example,))
        except Exception as error:  # raised by torch or by the model, of any type
            raise ConfigError(
                f"torch.export cannot trace the model, which 'executorch' needs: {one_line(str(error), 300)}; change the "
                'model, or choose other formats'
            ) from error


def lower(program: 'ExportedProgram') -> 'EdgeProgramManager':
    """Lower a program to XNNPACK; operators that XNNPACK lacks are left to ExecuTorch's own kernels.

    Raises:
        ConfigError: ExecuTorch cannot lower it.
    """
    # Optional, and takes seconds to import.
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    for node in program.graph.nodes:
        node.meta.pop('from_node', None)  # the history of each node, whose copies take an eighth of the time in int8
    try:
        return to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    except Exception as error:  # raised by any of dozens of passes, of any type
        raise ConfigError(
            f'ExecuTorch cannot lower the model: {one_line(str(error), 300)}; change the model, or choose other formats'
        ) from error


def write_program(edge: 'EdgeProgramManager', path: Path) -> None:
    """Write a lowered program, and log how much of it XNNPACK computes.

    Raises:
        ConfigError: An operator has no kernel in ExecuTorch.
        OSError: The file cannot be written.
    """
    parts = delegation(edge)  # of the program as it is before it is written, which changes it
    with quiet_libraries():
        try:
            program = edge.to_executorch()
        except Exception as error:  # as in lower
            raise ConfigError(
                f'ExecuTorch cannot write the model: {one_line(str(error), 300)}; change the model, or choose other formats'
            ) from error
        write_whole(path, program.write_to_file)
    print_log(f'{path.name}: {parts}', 'current')


def delegation(edge: 'EdgeProgramManager') -> str:
    """Describe how many parts of a lowered program XNNPACK computes, and which operators it does not."""
    targets = [node.target for node in edge.exported_program().graph.nodes if node.op == 'call_function']
    names = [getattr(target, '__name__', str(target)).split('.')[-2:][0] for target in targets if target is not getitem]
    parts = names.count('executorch_call_delegate')
    others = Counter(name for name in names if name != 'executorch_call_delegate')
    text = f'{counted(parts, "part")} computed by XNNPACK'
    if others:
        text += ', and by ExecuTorch ' + ', '.join(f'{count} x {name}' for name, count in others.most_common())
    return text
