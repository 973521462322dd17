"""The table of an export."""

from collections.abc import Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from motivation.export.export_run import ExportedFile
from motivation.export.parity import Parity


def parity_table(files: Sequence[ExportedFile]) -> Table:
    """Return what was exported as a table for a terminal: the models one after the other, a row for each file."""
    measured = [file.parity for file in files if file.parity is not None]
    batch = max((parity.batch_size or 0 for parity in measured), default=0)
    images = max((parity.images for parity in measured), default=0)
    table = Table(
        title=f'Exported files beside PyTorch, on {images:,} validation images, in one thread',
        box=box.SIMPLE_HEAD, title_justify='left', caption_justify='left', pad_edge=False,
    )  # fmt: skip
    table.add_column('file', no_wrap=True)
    for header in (
        'size\nKiB',
        'largest\ndiff.',
        'same\ntop-1 %',
        'top-1 %',
        'batch 1\nms',
        f'batch {batch}\nms',
        'memory\nMiB',
    ):
        table.add_column(header, justify='right')
    facts = []
    for model in dict.fromkeys(file.model for file in files):
        own = [file for file in files if file.model == model]
        table.add_row(f'[bold]{model}[/]')
        for place, file in enumerate(own, 1):
            table.add_row(*_cells(file), end_section=place == len(own))
        facts += [f'{model}: {_facts(file.parity)}' for file in own if file.parity is not None][:1]
    facts += [f'{file.model}/{file.path.name}: {file.problem}' for file in files if file.problem is not None]
    table.caption = escape('\n'.join([*facts, 'largest difference of a logit from PyTorch, over the largest logit']))
    return table


def _facts(parity: Parity) -> str:
    macs = '' if parity.macs is None else f', {parity.macs / 1e6:,.3f} MMACs an image'
    top1 = '' if parity.pytorch_accuracy_top1 is None else f', top-1 in PyTorch {parity.pytorch_accuracy_top1:.2f} %'
    return f'{parity.parameters:,} parameters{macs}{top1}'


def _cells(file: ExportedFile) -> list[str]:
    """Return the row of a file; what was not measured is a dash."""
    parity = file.parity
    if parity is None:
        return [f'  {file.path.name}', 'not written']
    equal = None if parity.equal_top1 is None else 100 * parity.equal_top1
    memory = None if parity.peak_memory_bytes is None else parity.peak_memory_bytes / 2**20
    return [
        f'  {file.path.name}' + ('' if parity.accepted else '.refused'),
        f'{parity.bytes / 2**10:,.0f}',
        _number(parity.largest_difference, '.1e'),
        _number(equal, '.2f'),
        _number(parity.accuracy_top1, '.2f'),
        _number(parity.latency_ms_batch_1, ',.2f'),
        _number(parity.latency_ms_batch, ',.2f'),
        _number(memory, ',.0f'),
    ]


def _number(value: float | None, form: str) -> str:
    return '-' if value is None else format(value, form)
