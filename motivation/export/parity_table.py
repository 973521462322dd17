"""The table of an export."""

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from motivation.errors import counted
from motivation.export.export_run import ExportedFile
from motivation.export.parity import Parity

_HEADERS = 'size\nKiB', 'largest\ndiff.', 'same\n{right} %', '\n{right} %', 'ms at\n1', 'ms at\n{}', 'memory\nMiB'


def parity_table(files: Sequence[ExportedFile]) -> Table:
    """Return what was exported as a table for a terminal: the models one after the other, a row for each file."""
    measured = [file.parity for file in files if file.parity is not None]
    batch = max((parity.batch_size or 0 for parity in measured), default=0)
    images = max((parity.images for parity in measured), default=0)
    on = f', on {counted(images, "validation image")}, in one thread' if images else ': none could be compared'
    title = f'Exported files beside PyTorch{on}'
    table = Table(
        title=title, title_justify='left', caption_justify='left', box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    table.add_column('file', no_wrap=True)
    right = _right(measured)
    for header in _HEADERS:
        table.add_column(header.format(batch or 'batch', right=right), justify='right', no_wrap=True)
    facts = []
    for model in dict.fromkeys(file.model for file in files):
        own = [file for file in files if file.model == model]
        table.add_row(f'[bold]{model}[/]')
        for file in own:
            table.add_row(*_cells(file, batch))
        facts += [f'{model}: {_facts(file.parity)}' for file in own if file.parity is not None][:1]
    facts += [f'{_fault(file)}: {file.model}/{file.path.name} {file.problem}' for file in files if file.problem]
    table.caption = escape('\n'.join([*facts, 'largest difference of a logit from PyTorch, over the largest logit']))
    return table


def _facts(parity: Parity) -> str:
    macs = '' if parity.macs is None else f', {parity.macs / 1e6:,.3f} MMACs an image'
    top1 = (
        ''
        if parity.pytorch_accuracy_top1 is None
        else f', {_right([parity])} in PyTorch {parity.pytorch_accuracy_top1:.2f} %'
    )
    return f'{parity.parameters:,} parameters{macs}{top1}'


def _right(measured: Sequence[Parity]) -> str:
    """Return what the images are called of which a model is right."""
    return 'exact match' if any(parity.several_labels for parity in measured) else 'top-1'


def _cells(file: ExportedFile, batch: int) -> list[str]:
    """Return the row of a file; a dash is what was not measured, or a batch larger than the file takes."""
    parity = file.parity
    if parity is None:
        return [f'  {file.path.name}', _fault(file)]
    equal = None if parity.equal_top1 is None else 100 * parity.equal_top1
    memory = None if parity.peak_memory_bytes is None else parity.peak_memory_bytes / 2**20
    return [
        f'  {file.path.name}',
        f'{parity.bytes / 2**10:,.0f}' if parity.accepted else _fault(file),
        _number(parity.largest_difference, '.1e'),
        _number(equal, '.2f'),
        _number(parity.accuracy_top1, '.2f'),
        _number(parity.latency_ms_batch_1, ',.2f'),
        _number(parity.latency_ms_batch if parity.batch_size == batch else None, ',.2f'),
        _number(memory, ',.0f'),
    ]


def _fault(file: ExportedFile) -> str:
    return 'missing' if file.parity is None else 'refused'


def _number(value: float | None, form: str) -> str:
    return '-' if value is None else format(value, form)
