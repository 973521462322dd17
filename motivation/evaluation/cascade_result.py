"""What is measured of two models in a cascade. Accuracies are in percent, their differences in points."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from motivation.evaluation.confidence import Measure
from motivation.evaluation.estimates import Estimate
from motivation.structures import ModelName


@dataclass(frozen=True)
class OperatingPoint:
    """The cascade at one threshold, judged on images on which the threshold was not chosen.

    Attributes:
        threshold: Confidence below which an image is passed on to the motivated model.
        passed_on: Share of images passed on.
        macs: Mean MACs an image: the base model on all, the motivated model on those passed on.
        accuracy: Accuracy.
        over_base: Accuracy minus that of the base model alone.
        over_motivated: Accuracy minus that of the motivated model alone.
        over_random: Accuracy minus that of a random choice between the two models, made before either runs, at the
            same mean MACs.
    """

    threshold: float
    passed_on: Estimate
    macs: Estimate
    accuracy: Estimate
    over_base: Estimate
    over_motivated: Estimate
    over_random: Estimate


@dataclass(frozen=True)
class Group:
    """Images of similar confidence: a tenth of all.

    Attributes:
        lowest: Their lowest confidence.
        base: Accuracy of the base model on them.
        motivated: Accuracy of the motivated model on them.
    """

    lowest: float
    base: float
    motivated: float


@dataclass(frozen=True)
class Cascaded:
    """The cascade of two models, judged on N images.

    Attributes:
        measure: The measure of confidence.
        seed: Seed of the halves.
        chosen_on: Number of images on which thresholds were chosen.
        images: N, those of the other half.
        macs: MACs an image of each model.
        alone: Accuracy of each model alone.
        equal_accuracy: At the lowest threshold that answered as many images right as the motivated model.
        best_accuracy: At the lowest threshold of those that answered most images right.
        curve: At thresholds that passed on 0, 1, ..., 100 % of the images on which they were chosen.
        oracle_accuracy: Of a choice that passes on the images that only the motivated model gets right.
        oracle_macs: Mean MACs an image of that choice.
        groups: The images in ten groups by confidence, the least sure first.
    """

    measure: Measure
    seed: int
    chosen_on: int
    images: int
    macs: Mapping[ModelName, int]
    alone: Mapping[ModelName, Estimate]
    equal_accuracy: OperatingPoint
    best_accuracy: OperatingPoint
    curve: list[OperatingPoint]
    oracle_accuracy: float
    oracle_macs: float
    groups: list[Group]

    @property
    def relative_cost(self) -> float:
        """Mean MACs at equal accuracy over those of the motivated model alone."""
        return self.equal_accuracy.macs.value / self.macs['motivated']

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Latency:
    """Mean milliseconds an image at batch 1, on one CPU thread, of uint8 images to logits.

    Attributes:
        base: Of the base model alone.
        motivated: Of the motivated model alone.
        cascade: Of the cascade at equal accuracy.
        passed_on: Share of the timed images that it passed on.
        images: Number of timed images.
    """

    base: float
    motivated: float
    cascade: float
    passed_on: float
    images: int

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)
