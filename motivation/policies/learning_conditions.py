"""Conditions on signals of learning, which depend less than the loss on which images are in a batch."""

import math
from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le

from motivation.policies.consecutive_drop import ConsecutiveDrop
from motivation.policies.switch_policy import SwitchPolicy, is_beyond
from motivation.registry import POLICIES
from motivation.utils.arguments import Count, Share, check_one_of, checked


@POLICIES.register_module()
class LearningProgress(SwitchPolicy):
    """A policy that activates the motivated model while images are learned faster than usual.

    The progress of a batch is the mean, over its images, of the loss that the image had when it was last seen (usually
    one epoch before, whichever model was active) minus its loss now. Unlike the loss itself, it does not depend on how
    hard the images of the batch are. What luck remains is that of augmentation and of the images' surroundings.

    The motivated model is active once ``drops`` consecutive batches have more progress than ``reference``, until the
    first that has not. In the first epoch no image has an earlier loss, and the base model stays active. The models must
    not mix images (mixup, CutMix).

    If the progress of batches were independent noise, each would exceed the median of an odd number of batches before
    it with probability 1/2, and ``drops`` in a row about 2^-drops of the time, whatever the distribution. A decrease of
    the loss itself has the rate 1/(drops + 1)!.

    Args:
        drops: Number of consecutive batches required, at least 1; 2 by default.
        reference: What the progress must exceed: ``'median'`` (default) of the ``window`` batches before, so that the
            batch has taught more than is usual at this point of training; or ``'zero'``, so that its images have become
            easier at all, which holds for nearly every batch as long as training makes progress, and for about half of
            them once it makes none.
        window: Number of batches whose median is taken; 49 by default. Until there are as many, the base model is
            active.

    Raises:
        ValueError: A value is out of range.

    Example:
        >>> motivation = dict(policy=dict(type='LearningProgress', drops=2))
    """

    @checked
    def __init__(self, drops: Count = 2, reference: Literal['median', 'zero'] = 'median', window: Count = 49) -> None:
        self.drops = drops
        self.reference = reference
        self.window = window
        self.streak = 0
        self._past: deque[float] = deque(maxlen=window)

    def update(self, loss: float, sample_progress: float | None) -> bool:
        if sample_progress is None or not math.isfinite(sample_progress):
            self.streak = 0
            return False
        self.streak = self.streak + 1 if self._is_more(sample_progress) else 0
        self._past.append(sample_progress)
        return self.streak >= self.drops

    def _is_more(self, progress: float) -> bool:
        if self.reference == 'zero':
            return progress > 0
        return len(self._past) == self.window and progress > median(self._past)

    def state_dict(self) -> dict[str, Any]:
        return {'streak': self.streak, 'past': list(self._past)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.streak = state_dict['streak']
        self._past = deque(state_dict['past'], maxlen=self.window)


@POLICIES.register_module()
class HeldInDrop(SwitchPolicy):
    """A policy that activates the motivated model while the loss on fixed training images falls.

    Every ``every`` batches the base model's loss on the same ``images`` training images is measured, in evaluation mode
    and without augmenting them anew, so that it falls and rises with the weights alone. The motivated model is active
    after ``drops`` consecutive drops, until the first measurement without one: each decides for ``every`` batches.

    Measurements are of the weights before the step on their batch. Their forward passes count as training compute of the
    base model; a run costs more by about ``images / (3 * every * batch size)`` of its base model's training.

    On independent noise the rate would be that of :class:`ConsecutiveDrop`, 1/(drops + 1)!. The loss on fixed images is
    not noise: where training makes progress, nearly all measurements are drops, and more so the further they are apart.

    Args:
        drops: Number of consecutive drops required, at least 1; 2 by default.
        every: Batches between two measurements, at least 1; 10 by default.
        images: Number of images, at least 1; 256 by default.

    Raises:
        ValueError: A value is out of range.

    Example:
        >>> motivation = dict(policy=dict(type='HeldInDrop', drops=2, every=10))
    """

    @checked
    def __init__(self, drops: Count = 2, every: Count = 10, images: Count = 256) -> None:
        self.drops = drops
        self.every = every
        self.images = images
        self.awake = False
        self._condition = ConsecutiveDrop(drops)

    @property
    def signal_options(self) -> Mapping[str, Mapping[str, Any]]:
        return {'held_in_loss': {'every': self.every, 'images': self.images}}

    def update(self, loss: float, held_in_loss: float | None) -> bool:
        if held_in_loss is not None:
            self.awake = self._condition.update(held_in_loss)
        return self.awake

    def state_dict(self) -> dict[str, Any]:
        return {'awake': self.awake, 'condition': self._condition.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.awake = state_dict['awake']
        self._condition.load_state_dict(state_dict['condition'])


@POLICIES.register_module()
class GradientAgreement(SwitchPolicy):
    """A policy that activates the motivated model after a step whose gradient agrees with that of the step before.

    The agreement is the cosine of both gradients over the parameters that the two models share, of whichever model was
    active, before clipping. The gradients of two batches agree as far as they are more than the noise of their samples:
    for equal and independent noise the cosine is about the share of the true gradient in the squared norm.

    Args:
        above: Activate if the agreement is above this, from -1 to 1.
        quantile: Activate if it is above this quantile of the ``window`` agreements before, from 0 (always) to 1 (never).
            Give exactly one of ``above`` and ``quantile``. If agreements were independent noise, about ``1 - quantile`` of the
            batches would be motivated, exactly so if ``quantile * (window + 1)`` is a whole number.
        window: Number of agreements before, at least 1; 49 by default. Until there are as many, the base model is
            active.

    Raises:
        ValueError: A value is out of range, or not exactly one of ``above`` and ``quantile`` is given.

    Example:
        >>> motivation = dict(policy=dict(type='GradientAgreement', quantile=0.8))
    """

    @checked
    def __init__(
        self,
        above: Annotated[float, Ge(-1), Le(1)] | None = None,
        quantile: Share | None = None,
        window: Count = 49,
    ) -> None:
        check_one_of(above=above, quantile=quantile)
        self.above = above
        self.quantile = quantile
        self.window = window
        self._past: deque[float] = deque(maxlen=window)

    def update(self, loss: float, grad_agreement: float | None) -> bool:
        if grad_agreement is None or not math.isfinite(grad_agreement):
            return False
        if self.quantile is None:
            return is_beyond(grad_agreement, None, self.above)
        usual = self._usual(self.quantile) if len(self._past) == self.window else math.inf
        self._past.append(grad_agreement)
        return grad_agreement > usual

    def _usual(self, quantile: float) -> float:
        """Return the smallest past agreement that a new one of the same distribution exceeds at most that rarely."""
        rank = math.ceil(quantile * (self.window + 1) - 1e-9)  # 0.8 * 50 may be slightly above 40
        if rank == 0:
            return -math.inf
        return sorted(self._past)[rank - 1] if rank <= self.window else math.inf

    def state_dict(self) -> dict[str, Any]:
        return {'past': list(self._past)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._past = deque(state_dict['past'], maxlen=self.window)
