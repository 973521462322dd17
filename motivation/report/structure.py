"""The results of a run, with the structure of ``report.json``."""

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
    """The best value of a metric in a run.

    Attributes:
        value: The value, in the metric's unit.
        epoch: The first epoch that reached it.
    """

    value: float
    epoch: int


@dataclass(frozen=True)
class ModelScores:
    """The results of one model in a validation.

    Attributes:
        metrics: Metrics by name, such as ``'accuracy/top1'``, in their units; those of its averaged weights are
            ``'ema/accuracy/top1'``.
        train_flops: FLOPs of training it until then; ``None`` if not counted.
    """

    metrics: dict[str, float]
    train_flops: int | None = None


@dataclass(frozen=True)
class Validation:
    """The results of a validation, a row of ``history``.

    Attributes:
        epoch: Number of epochs trained.
        iter: Number of batches trained.
        models: The results of each model.
    """

    epoch: int
    iter: int
    models: dict[ModelName, ModelScores]

    @property
    def total_train_flops(self) -> int | None:
        """FLOPs of training both models until then; ``None`` if not counted."""
        flops = [scores.train_flops for scores in self.models.values() if scores.train_flops is not None]
        return sum(flops) if len(flops) == len(self.models) else None

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> 'Validation':
        """Build from a row of ``history``."""
        return cls(row['epoch'], row['iter'], {name: ModelScores(**row[name]) for name in MODEL_NAMES})

    def to_json(self) -> dict[str, Any]:
        """Return the row of ``history``."""
        row: dict[str, Any] = {'epoch': self.epoch, 'iter': self.iter}
        return row | {name: _without_none(asdict(scores)) for name, scores in self.models.items()}


@dataclass(frozen=True)
class ModelCompute:
    """The compute of one model, from :class:`~motivation.compute.meter.ComputeMeter`.

    Attributes:
        forward_macs_per_image: MACs of the network's forward pass in training.
        step_forward_macs_per_image: MACs of all forward passes of a training step, including a teacher's.
        backward_macs_per_image: MACs of the backward pass.
        images: Number of images it trained on while active.
        forward_flops: FLOPs of its forward passes in training.
        backward_flops: FLOPs of its backward passes.
        train_flops: FLOPs of both.
        evaluation_flops: FLOPs of validating it.
        reestimation_flops: FLOPs of re-estimating its statistics.
        seconds: Duration of the batches on which it was active.
        images_per_second: Images per second in these batches; ``None`` if there were none.
        flops_per_second: FLOPs per second in these batches; ``None`` if there were none.
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
    """The compute of a run.

    Attributes:
        distillation_iters: Number of distillation steps of the base model.
        total_train_flops: FLOPs of training both models.
        motivated_alone_train_flops: FLOPs of training the motivated model alone on the same batches.
        saving: ``motivated_alone_train_flops / total_train_flops``.
    """

    distillation_iters: int
    total_train_flops: int
    motivated_alone_train_flops: int
    saving: float


@dataclass(frozen=True)
class ModelReport:
    """The results of one model.

    Attributes:
        model: Name of the backbone, or of the model's class.
        params: Number of parameters.
        iters: Number of batches it trained on while active.
        metrics: Metrics of the last validation, by name.
        best: The best value of each metric that is neither a loss nor of one class, by name.
        compute: Its compute; ``None`` if not counted.
        extra: Values that hooks added, by key.
    """

    model: str
    params: int
    iters: int
    metrics: dict[str, float]
    best: dict[str, Best]
    compute: ModelCompute | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return its part of ``report.json``, with the keys of :attr:`compute` at the same level if it is counted."""
        data = asdict(self)
        compute, extra = data.pop('compute'), data.pop('extra')
        return {**data, **(compute or {}), **extra}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> 'ModelReport':
        """Build from its part of ``report.json``."""
        own, compute, extra = _split(data, cls, ModelCompute)
        own['best'] = {name: Best(**best) for name, best in own['best'].items()}
        return cls(**own, compute=ModelCompute(**compute) if compute else None, extra=extra)


@dataclass(frozen=True)
class RunReport:
    """The results of a run.

    Attributes:
        policy: The switch policy.
        seed: The random seed.
        epochs: Number of epochs trained.
        motivated_fraction: Share of motivated batches, 0 to 1.
        activations: Number of activations of the motivated model.
        wall_seconds: Duration of training, with validation.
        skipped_iters: Number of batches without a step because of a non-finite loss or, in fp16, gradient.
        rollbacks: Number of returns to a checkpoint after a non-finite loss.
        base: Results of the base model.
        motivated: Results of the motivated model.
        history: Results of each validation, in order.
        pretraining: What happened to pretrained weights, or to those of ``load_from``, as a sentence under ``'said'``;
            ``None`` without any.
        compute: Compute of the run; ``None`` if not counted.
        not_counted: Why the compute meter could not count; ``None`` if it could, or if there is no meter.
        sample: Name of a sample: ``'image'`` or ``'sample'``.
        extra: Values that hooks added, by key.
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
        data = {each.name: getattr(self, each.name) for each in fields(self)}
        compute, reason, extra = (data.pop(key) for key in ('compute', 'not_counted', 'extra'))
        data |= {name: self.model(name).to_json() for name in MODEL_NAMES}
        data['history'] = [row.to_json() for row in self.history]
        data['compute'] = None if reason is None else _NOT_COUNTED + reason
        return {**_without_none(data), **(asdict(compute) if compute else {}), **extra}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> 'RunReport':
        """Build from the content of ``report.json``; unknown keys go to :attr:`extra`."""
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
            ConfigError: The file is invalid or of another version.
        """
        try:
            return cls.from_json(json.loads(path.read_text()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"'{path}' is corrupted or not a report of this version; train that run again") from error


@dataclass(frozen=True)
class RecordedRun:
    """The record of a run, finished or not, to draw.

    Attributes:
        name: Title in the picture.
        trace: The switch trace.
        history: Results of its validations.
        about: Policy and seed, or ``None`` if not known.
    """

    name: str
    trace: SwitchTrace
    history: Sequence[Validation] = ()
    about: str | None = None


def _split(
    data: Mapping[str, Any], own: type[Any], compute: type[Any]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Split the data of a report into the fields of two dataclasses and the rest."""
    names, counted = ({each.name for each in fields(part)} for part in (own, compute))
    return (
        {key: value for key, value in data.items() if key in names},
        {key: value for key, value in data.items() if key in counted},
        {key: value for key, value in data.items() if key not in names | counted},
    )


def _without_none(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value is not None}
