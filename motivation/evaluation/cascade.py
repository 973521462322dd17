"""Two models in a cascade: the base model answers where it is sure, the motivated model otherwise.

Thresholds are chosen on one half of the images and judged on the other, so that none looks good by luck.
Accuracies are in percent, their differences in points.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from motivation.errors import ConfigError
from motivation.evaluation.cascade_result import Cascaded, Group, OperatingPoint
from motivation.evaluation.confidence import Measure, confidence
from motivation.evaluation.estimates import paired_difference, share_of
from motivation.structures import ModelName

# Above every confidence: all images are passed on.
PASS_ALL = 2.0

# With fewer images no half decides anything.
FEWEST = 20

# Points of the curve, and groups of images by confidence.
POINTS, GROUPS = 100, 10


@dataclass(frozen=True)
class Scored:
    """What both models make of the same N images.

    Attributes:
        confidence: That of the base model, 0 to 1, (N,).
        base: Whether the base model is right, bool (N,).
        motivated: Whether the motivated model is right, bool (N,).
    """

    confidence: np.ndarray
    base: np.ndarray
    motivated: np.ndarray

    def __len__(self) -> int:
        return len(self.confidence)

    def of(self, images: np.ndarray) -> 'Scored':
        """Return the scores of some of the images, by index."""
        return Scored(self.confidence[images], self.base[images], self.motivated[images])


@dataclass(frozen=True)
class Cuts:
    """Every threshold that makes a difference on N images, from the one that passes on none to all.

    Attributes:
        thresholds: Images with a lower confidence are passed on, (T,).
        passed_on: Number of images passed on, (T,), ascending.
        right: Number of right answers of the cascade, (T,).
    """

    thresholds: np.ndarray
    passed_on: np.ndarray
    right: np.ndarray


def halves(targets: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split images in two halves at random, each class evenly.

    Args:
        targets: Class indices, (N,).
        seed: Seed of the split.

    Returns:
        Ascending indices of the first half, ceil(N / 2), and the second. They differ by at most one image a class.
    """
    shuffled = np.random.default_rng(seed).permutation(len(targets))
    by_class = shuffled[np.argsort(targets[shuffled], kind='stable')]
    return np.sort(by_class[::2]), np.sort(by_class[1::2])


def all_cuts(scored: Scored) -> Cuts:
    """Return every threshold that makes a difference, with what the cascade then does."""
    order = np.argsort(scored.confidence, kind='stable')
    ranked = scored.confidence[order]
    gains = scored.motivated[order].astype(int) - scored.base[order]
    # Images of equal confidence are passed on together.
    inner = np.flatnonzero(np.diff(ranked)) + 1
    passed_on = np.concatenate([[0], inner, [len(ranked)]])
    right = scored.base.sum() + np.concatenate([[0], np.cumsum(gains)])[passed_on]
    return Cuts(np.concatenate([[0.0], ranked[inner], [PASS_ALL]]), passed_on, right)


def equal_accuracy_threshold(scored: Scored) -> float:
    """Return the lowest threshold at which the cascade is right at least as often as the motivated model."""
    cuts = all_cuts(scored)
    return float(cuts.thresholds[np.argmax(cuts.right >= scored.motivated.sum())])


def best_accuracy_threshold(scored: Scored) -> float:
    """Return the lowest threshold among those at which the cascade is right most often."""
    cuts = all_cuts(scored)
    return float(cuts.thresholds[np.argmax(cuts.right)])


def judge(scored: Scored, threshold: float, macs: Mapping[ModelName, int]) -> OperatingPoint:
    """Judge the cascade at a threshold.

    Args:
        scored: The images to judge it on.
        threshold: Confidence below which an image is passed on.
        macs: MACs an image of each model.
    """
    passed = scored.confidence < threshold
    right = np.where(passed, scored.motivated, scored.base)
    share = share_of(passed)
    # A random choice does not run the base model on what it gives to the motivated one.
    random_share = min(1.0, share.value * macs['motivated'] / max(macs['motivated'] - macs['base'], 1))
    expected = (1 - random_share) * scored.base + random_share * scored.motivated
    over_base, over_motivated, over_random = (
        paired_difference(right - other.astype(float)).scaled(100)
        for other in (scored.base, scored.motivated, expected)
    )
    cost = share.scaled(macs['motivated'], macs['base'])
    return OperatingPoint(threshold, share, cost, share_of(right).scaled(100), over_base, over_motivated, over_random)


def assess(
    logits: Mapping[ModelName, Tensor],
    targets: Tensor,
    macs: Mapping[ModelName, int],
    measure: Measure = 'probability',
    seed: int = 0,
) -> Cascaded:
    """Choose thresholds on one half of the images and judge them on the other.

    Legend: N images, K classes.

    Args:
        logits: Those of each model, (N, K).
        targets: Class indices, (N,).
        macs: MACs an image of each model.
        measure: The measure of the base model's confidence. Default: ``'probability'``.
        seed: Seed of the halves, in which the classes are even. Default: 0.

    Raises:
        ConfigError: There are fewer than 20 images, or the models have different numbers of classes.
    """
    if logits['base'].shape != logits['motivated'].shape:
        raise ConfigError(
            f'the base model has {logits["base"].shape[1]} classes and the motivated model '
            f'{logits["motivated"].shape[1]}; give two models of one run'
        )
    if len(targets) < FEWEST:
        raise ConfigError(
            f'there are {len(targets)} validation images, and two halves need at least {FEWEST}; '
            'give a val_dataloader with more'
        )
    right = {name: (scores.argmax(dim=1) == targets).numpy() for name, scores in logits.items()}
    scored = Scored(confidence(logits['base'], measure).double().numpy(), right['base'], right['motivated'])
    first, second = halves(targets.numpy(), seed)
    chosen, judged = scored.of(first), scored.of(second)
    only_motivated = judged.motivated & ~judged.base
    return Cascaded(
        measure=measure,
        seed=seed,
        chosen_on=len(chosen),
        images=len(judged),
        macs=dict(macs),
        alone={'base': share_of(judged.base).scaled(100), 'motivated': share_of(judged.motivated).scaled(100)},
        equal_accuracy=judge(judged, equal_accuracy_threshold(chosen), macs),
        best_accuracy=judge(judged, best_accuracy_threshold(chosen), macs),
        curve=[judge(judged, threshold, macs) for threshold in _spread_thresholds(chosen)],
        oracle_accuracy=100 * float((judged.base | judged.motivated).mean()),
        oracle_macs=macs['base'] + float(only_motivated.mean()) * macs['motivated'],
        groups=_groups(judged),
    )


def _spread_thresholds(scored: Scored) -> list[float]:
    """Return thresholds that pass on 0, 1, ..., 100 % of the images, without those that are equal."""
    ranked = np.append(np.sort(scored.confidence), PASS_ALL)
    ranked[0] = 0.0
    places = np.linspace(0, len(scored), POINTS + 1).round().astype(int)
    return np.unique(ranked[places]).tolist()


def _groups(scored: Scored) -> list[Group]:
    order = np.argsort(scored.confidence, kind='stable')
    return [
        Group(
            float(scored.confidence[part[0]]),
            100 * float(scored.base[part].mean()),
            100 * float(scored.motivated[part].mean()),
        )
        for part in np.array_split(order, GROUPS)
    ]
