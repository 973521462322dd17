"""Building the executor that a command line or a config names."""

from motivation.errors import ArgumentError, near_matches
from motivation.executors.executor import Executor
from motivation.registry import EXECUTORS, look_up
from motivation.utils.arguments import check_nested
from motivation.utils.named_fields import read_fields, split_name


def make_executor(text: str) -> Executor:
    """Build an executor.

    Args:
        text: ``NAME`` or ``NAME:KEY=VALUE,...``, such as ``'slurm:partition=gpu,gpus=1'``.

    Raises:
        ArgumentError: The name is not registered, or a field is unknown or invalid; the argument is ``executor``.
    """
    name, rest = split_name(text)
    kind = look_up(EXECUTORS, name)
    if kind is None:
        raise ArgumentError(
            'executor', f'{text!r} is not a registered executor; {near_matches(name, EXECUTORS.module_dict)}'
        )
    try:
        fields = read_fields(rest)
    except ValueError as error:
        raise ArgumentError('executor', f'{text!r}: {error}; write it like slurm:partition=gpu,gpus=1') from None
    try:
        check_nested(kind, name, fields, name)
        executor: Executor = kind(**fields)
    except ValueError as error:
        raise ArgumentError('executor', f'{text!r}: {str(error).removeprefix(f"{name}.")}') from error
    return executor
