"""The results of a run, as ``report.json`` has them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from motivation.errors import ConfigError
from motivation.policies.switch_trace import SwitchTrace
from motivation.structures import MODEL_NAMES, ModelName

_NOT_COUNTED = 'not counted: '


@dataclass(frozen=True)
class Best:
    """The highest value of a metric over a run.

    Attributes:
        value: The value.
        epoch: The epoch after which it was first reached.
    """

    value: float
    epoch: int


@dataclass(frozen=True)
class ModelScores:
    """What a validation found of one model.

    Attributes:
        metrics: By name, such as ``'accuracy/top1'``, in percent.
        train_flops: FLOPs of its training until then; ``None`` where they are not counted.
    """

    metrics: dict[str, float]
    train_flops: int | None = None


@dataclass(frozen=True)
class Validation:
    """One row of a report's history.

    Attributes:
        epoch: Epochs that were over.
        iter: Batches that were over.
        models: What it found of each model.
    """

    epoch: int
    iter: int
    models: dict[ModelName, ModelScores]

    @property
    def total_train_flops(self) -> int | None:
        """FLOPs of training both models until then; ``None`` where they are not counted."""
        flops = [scores.train_flops for scores in self.models.values() if scores.train_flops is not None]
        return sum(flops) if len(flops) == len(self.models) else None

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> 'Validation':
        """Read a row of ``history``."""
        return cls(row['epoch'], row['iter'], {name: ModelScores(**row[name]) for name in MODEL_NAMES})

    def to_json(self) -> dict[str, Any]:
        """Return the row of ``history``."""
        row: dict[str, Any] = {'epoch': self.epoch, 'iter': self.iter}
        return row | {name: _without_none(asdict(scores)) for name, scores in self.models.items()}


@dataclass(frozen=True)
class ModelCompute:
    """What training one model cost, which the compute meter knows; see :class:`~motivation.compute.meter.ComputeMeter`.

    Attributes:
        forward_macs_per_image: MACs of the network's forward pass in training.
        step_forward_macs_per_image: MACs of all forward passes of a training step, a teacher's included.
        backward_macs_per_image: MACs of the backward pass.
        images: Images of the batches it was the active model of.
        forward_flops: FLOPs of all its forward passes in training.
        backward_flops: FLOPs of all its backward passes.
        train_flops: FLOPs of both.
        evaluation_flops: FLOPs of validating it.
        reestimation_flops: FLOPs of estimating its statistics anew.
        seconds: How long its batches took.
        images_per_second: Images in a second of its batches; ``None`` without any.
        flops_per_second: FLOPs in a second of its batches; ``None`` without any.
    """

    forward_macs_per_image: int
    step_forward_macs_per_image: int
    backward_macs_per_image: int
    images: int
    forward_flops: int
    backward_flops: int
    train_flops: int
    evaluation_flops: int
    reestimation_flops: int
    seconds: float
    images_per_second: float | None
    flops_per_second: float | None


@dataclass(frozen=True)
class RunCompute:
    """What the run cost as a whole.

    Attributes:
        distillation_iters: Further steps of the base model towards the motivated model's outputs.
        total_train_flops: FLOPs of training both models.
        motivated_alone_train_flops: FLOPs of training the motivated model alone on the same batches.
        saving: The second divided by the first.
    """

    distillation_iters: int
    total_train_flops: int
    motivated_alone_train_flops: int
    saving: float


@dataclass(frozen=True)
class ModelReport:
    """The results of one model.

    Attributes:
        model: What a person calls it: the backbone's name, or its class.
        params: Number of parameters.
        iters: Batches that it was trained on as the active model.
        metrics: By name, of the last validation.
        best: By name, of each accuracy.
        compute: What it cost; ``None`` where that is not counted.
        extra: What hooks have added, by key.
    """

    model: str
    params: int
    iters: int
    metrics: dict[str, float]
    best: dict[str, Best]
    compute: ModelCompute | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the part of ``report.json``, which has the keys of :attr:`compute` only where it is counted."""
        data = asdict(self)
        compute, extra = data.pop('compute'), data.pop('extra')
        return {**data, **(compute or {}), **extra}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> 'ModelReport':
        """Read the part of ``report.json``."""
        own, compute, extra = _split(data, cls, ModelCompute)
        own['best'] = {name: Best(**best) for name, best in own['best'].items()}
        return cls(**own, compute=ModelCompute(**compute) if compute else None, extra=extra)


@dataclass(frozen=True)
class RunReport:
    """The results of a run.

    Attributes:
        policy: The switch policy.
        seed: The seed.
        epochs: Epochs trained.
        motivated_fraction: Share of batches that were motivated.
        activations: Motivated spells.
        wall_seconds: How long training took, validation included.
        skipped_iters: Batches without a step, because their loss was non-finite.
        rollbacks: Returns to a checkpoint after a non-finite loss.
        base: Results of the base model.
        motivated: Results of the motivated model.
        history: Each validation.
        pretraining: What became of pretrained weights, the sentence under ``said``; ``None`` without any.
        compute: What it cost; ``None`` where that is not counted.
        not_counted: Why it is not, where the run has a compute meter.
        sample: What a sample is called: ``'image'`` or ``'sample'``.
        extra: What hooks have added, by key.
    """

    policy: str
    seed: int
    epochs: int
    motivated_fraction: float
    activations: int
    wall_seconds: float
    skipped_iters: int
    rollbacks: int
    base: ModelReport
    motivated: ModelReport
    history: Sequence[Validation]
    pretraining: dict[str, Any] | None = None
    compute: RunCompute | None = None
    not_counted: str | None = None
    sample: str = 'image'
    extra: dict[str, Any] = field(default_factory=dict)

    def model(self, name: ModelName) -> ModelReport:
        """Return the results of one model."""
        return self.base if name == 'base' else self.motivated

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``report.json``."""
        data = {one.name: getattr(self, one.name) for one in fields(self)}
        compute, reason, extra = (data.pop(key) for key in ('compute', 'not_counted', 'extra'))
        data |= {name: self.model(name).to_json() for name in MODEL_NAMES}
        data['history'] = [row.to_json() for row in self.history]
        data['compute'] = None if reason is None else _NOT_COUNTED + reason
        return {**_without_none(data), **(asdict(compute) if compute else {}), **extra}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> 'RunReport':
        """Read the content of ``report.json``; unknown keys are :attr:`extra`."""
        own, compute, extra = _split(data, cls, RunCompute)
        own |= {name: ModelReport.from_json(own[name]) for name in MODEL_NAMES}
        own['history'] = [Validation.from_json(row) for row in own['history']]
        reason = own.pop('compute', None)
        own['not_counted'] = None if reason is None else reason.removeprefix(_NOT_COUNTED)
        return cls(**own, compute=RunCompute(**compute) if compute else None, extra=extra)

    @classmethod
    def read(cls, path: Path) -> 'RunReport':
        """Read a ``report.json``.

        Raises:
            ConfigError: It is damaged or of another version.
        """
        try:
            return cls.from_json(json.loads(path.read_text()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"'{path}' is damaged or no report of this version; train that run anew") from error


@dataclass(frozen=True)
class RecordedRun:
    """What a run has recorded, finished or not.

    Attributes:
        name: What the picture calls it.
        trace: Its switches.
        history: Its validations.
        about: Its policy and seed, where they are known.
    """

    name: str
    trace: SwitchTrace
    history: Sequence[Validation] = ()
    about: str | None = None


def _split(
    data: Mapping[str, Any], own: type[Any], compute: type[Any]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The fields of a report, those of its compute, and what neither knows."""
    names, counted = ({one.name for one in fields(part)} for part in (own, compute))
    return (
        {key: value for key, value in data.items() if key in names},
        {key: value for key, value in data.items() if key in counted},
        {key: value for key, value in data.items() if key not in names | counted},
    )


def _without_none(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value is not None}
