"""The compute of two models and of planned runs, as data and as tables."""

import math
from collections.abc import Mapping
from typing import Any

from mmengine.model import BaseModel
from rich.table import Table
from torch import Tensor

from motivation.compute.macs import ModelMacs, StepMacs, measure_model, training_batches
from motivation.compute.step_macs import count_train_step
from motivation.report.table import count_parameters, model_label, step_rows
from motivation.structures import MODEL_NAMES, ModelName
from motivation.utils.batches import article, input_shapes, noun_of
from motivation.utils.training_mode import training_mode
from motivation.utils.training_parts import Size, TrainingParts, resized

# Shares of motivated batches of the planned runs.
RATES = (0.0, 1 / 24, 0.1, 1 / 6, 0.25, 0.5, 0.75, 1.0)


def describe_pair(
    models: Mapping[ModelName, BaseModel],
    sample: dict[str, Tensor],
    images: int,
    batch_size: int,
    distillation: bool = False,
    parts: TrainingParts | None = None,
) -> dict[str, Any]:
    """Return the data that ``motivation flops`` shows.

    Args:
        models: Both models, by name; they do not change.
        sample: One sample as the dataset returns it, collated.
        images: Number of samples of the planned run, over all epochs.
        batch_size: Samples per batch, for MACs that do not depend on the batch size.
        distillation: Whether motivated batches include a step of in-place distillation. Default: ``False``.
        parts: Parts of the planned run, with image sizes of their own. Default: one of the sample's size.

    Returns:
        ``sample``, the name of a sample; ``input``, the shape of its first input; for each model its parameters and
        MACs; ``planned``, training FLOPs and saving at several shares of motivated batches; ``largest_saving``, the
        saving of a run without motivated batches.
    """

    def measure(size: Size | None = None) -> dict[ModelName, ModelMacs]:
        like = resized(sample, size)
        return {name: measure_model(models[name], like, distillation, batch_size, check=True) for name in MODEL_NAMES}

    whole = macs = measure()
    pair: dict[str, Any] = {'sample': noun_of(sample), 'input': list(input_shapes(sample)[0][1])}
    for name, model in models.items():
        step = macs[name].step
        pair[name] = {
            'model': model_label(model),
            'params': count_parameters(model),
            'forward_macs_per_image': macs[name].network.per_image,
            'step_forward_macs_per_image': step.forward.per_image,
            'backward_macs_per_image': step.backward.per_image,
            'inference_macs_per_image': macs[name].inference.per_image,
            'fixed_macs_per_step': step.forward.per_batch + step.backward.per_batch,
            **_detail(model, sample),
        }
    base = motivated = alone = 0.0
    parts = parts or TrainingParts()
    for part in parts.parts:
        macs = measure(part.size) if part.size is not None else whole
        cost = _planned(macs, math.ceil(images / batch_size), images, distillation)
        base, motivated, alone = (
            total + part.share * add for total, add in zip((base, motivated, alone), cost, strict=True)
        )
    pair |= {
        'images': images,
        'batch_size': batch_size,
        'distillation': distillation,
        'parts': str(parts) if parts.resizes else '',
    }
    pair['planned'] = [
        {'motivated_fraction': rate, 'train_flops': round(spent), 'saving': alone / spent}
        for rate in RATES
        for spent in [(1 - rate) * base + rate * motivated]
    ]
    pair['largest_saving'] = alone / base
    return pair


def _planned(
    macs: Mapping[ModelName, ModelMacs], batches: int, images: int, distillation: bool
) -> tuple[int, int, int]:
    """Return the FLOPs of a run of base batches alone, of motivated batches alone, and of the motivated model alone."""

    def flops(*steps: StepMacs | None) -> int:
        return sum(step.flops(batches, images) for step in steps if step is not None)

    base, alone = flops(macs['base'].step), flops(macs['motivated'].step)
    return base, flops(*(macs[name].distillation for name in MODEL_NAMES)) if distillation else alone, alone


def _detail(model: BaseModel, sample: dict[str, Tensor]) -> dict[str, dict[str, list[int]]]:
    """Return the forward and backward MACs of one sample by stage and by operator."""
    with training_mode(model):
        two, four = (count_train_step(model, batch, by_module=True) for batch in training_batches(sample)[:2])
    prefix = 'backbone.' if hasattr(model, 'backbone') else ''

    def per_image(small: dict[str, tuple[int, int]], large: dict[str, tuple[int, int]]) -> dict[str, list[int]]:
        return {name: [(b - a) // 2 for a, b in zip(small[name], large[name], strict=True)] for name in small}

    stages = {
        name.removeprefix(prefix): macs
        for name, macs in per_image(two.modules, four.modules).items()
        if name.startswith(prefix) and '.' not in name.removeprefix(prefix) and name and macs[0]
    }
    return {'stages': stages, 'operators': per_image(two.operators, four.operators)}


def pair_tables(pair: dict[str, Any], detail: bool) -> list[Table]:
    """Return the tables for a terminal: both models, with ``detail`` their stages and operators, and planned runs."""

    def macs_row(label: str, key: str) -> tuple[str, ...]:
        return label, *(f'{pair[name][key] / 1e6:,.3f}' for name in MODEL_NAMES)

    noun = pair['sample']
    models = Table('', *MODEL_NAMES, title=f'input {" x ".join(map(str, pair["input"]))}', title_justify='left')
    rows = [
        ('model', *(pair[name]['model'] for name in MODEL_NAMES)),
        ('parameters', *(f'{pair[name]["params"]:,}' for name in MODEL_NAMES)),
        macs_row(f'forward MMACs {article(noun)}', 'forward_macs_per_image'),
        *step_rows(
            *(
                (pair[name]['forward_macs_per_image'], pair[name]['step_forward_macs_per_image'])
                for name in MODEL_NAMES
            ),
            noun=noun,
        ),
        macs_row(f'backward MMACs {article(noun)}', 'backward_macs_per_image'),
    ]
    if any(pair[name]['fixed_macs_per_step'] for name in MODEL_NAMES):
        rows.append(macs_row('further MMACs a batch', 'fixed_macs_per_step'))
    for row in rows:
        models.add_row(*row)
    parts = [_part_table(pair, part) for part in ('stages', 'operators')] if detail else []
    planned = Table(
        'motivated batches',
        'training FLOPs',
        'saving',
        title=f'a run of {pair["images"]:,} {noun}{"s" * (pair["images"] > 1)}'
        + (', distilling' if pair['distillation'] else '')
        + (f', {pair["parts"]}' if pair['parts'] else ''),
        title_justify='left',
    )
    for row in pair['planned']:
        planned.add_row(f'{row["motivated_fraction"]:.1%}', f'{row["train_flops"]:.4g}', f'{row["saving"]:.2f} x')
    for table in (models, planned, *parts):
        for column in table.columns[1:]:
            column.justify = 'right'
    return [models, *parts, planned]


def _part_table(pair: dict[str, Any], part: str) -> Table:
    table = Table(title=f'MMACs {article(pair["sample"])} by {part.removesuffix("s")}', title_justify='left')
    table.add_column(part.removesuffix('s'), overflow='fold')
    for name in MODEL_NAMES:
        table.add_column(f'{name}\nforward')
        table.add_column(f'{name}\nbackward')
    for place in dict.fromkeys(key for name in MODEL_NAMES for key in pair[name][part]):
        cells = (pair[name][part].get(place, [0, 0]) for name in MODEL_NAMES)
        table.add_row(place, *(f'{macs / 1e6:,.3f}' for both in cells for macs in both))
    return table
