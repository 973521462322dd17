"""Conditions on signals of learning, which depend less than the loss on which images are in a batch."""

import math
from collections import deque
from statistics import median
from typing import Any, Literal

from motivation.policies.switch_policy import SwitchPolicy
from motivation.registry import POLICIES
from motivation.utils.arguments import Count, checked


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
        window: Number of batches whose median is taken; 51 by default. Until there are as many, the base model is
            active.

    Raises:
        ValueError: A value is out of range.

    Example:
        >>> motivation = dict(policy=dict(type='LearningProgress', drops=2))
    """

    @checked
    def __init__(self, drops: Count = 2, reference: Literal['median', 'zero'] = 'median', window: Count = 51) -> None:
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
