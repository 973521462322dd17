"""How sure a classifier is of each image, as one number."""

from typing import Literal

import torch
from torch import Tensor

from motivation.errors import ConfigError

Measure = Literal['probability', 'margin', 'entropy']


def confidence(logits: Tensor, measure: Measure = 'probability') -> Tensor:
    """Compute the confidence of a classifier in its answers, from 0 to 1.

    Legend: N images, K classes, p their softmax probabilities.

    Args:
        logits: (N, K), K at least 2.
        measure: ``'probability'`` (default): the largest p (Hendrycks and Gimpel, arXiv 1610.02136); ``'margin'``:
            the largest p minus the second largest; ``'entropy'``: 1 minus the entropy of p over its maximum, ln K.

    Returns:
        (N,), float32.

    Raises:
        ConfigError: There are fewer than two classes, of which any model is always sure.
    """
    if logits.shape[1] < 2:
        raise ConfigError(
            f'the model has {logits.shape[1]} output, and a confidence needs at least 2 classes; give a model with more'
        )
    log_p = logits.float().log_softmax(dim=1)
    p = log_p.exp()
    if measure == 'entropy':
        # torch.special.entr is 0 at p = 0, where p * log p is NaN.
        sure = 1 - torch.special.entr(p).sum(dim=1) / torch.log(torch.tensor(float(logits.shape[1])))
    else:
        first, second = p.topk(2, dim=1).values.unbind(dim=1)
        sure = first - second if measure == 'margin' else first
    return sure.clamp(0, 1)
