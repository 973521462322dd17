import json

import numpy as np
import pytest
import torch

from motivation.errors import ConfigError
from motivation.evaluation.cascade import (
    PASS_ALL,
    Scored,
    all_cuts,
    assess,
    best_accuracy_threshold,
    equal_accuracy_threshold,
    halves,
    judge,
)

MACS = {'base': 100, 'motivated': 400}


def random_scores(seed, images, levels=1000):
    """Few levels give many images the same confidence."""
    generator = np.random.default_rng(seed)
    sure = generator.integers(0, levels, images) / levels
    return Scored(sure, generator.random(images) < 0.5 + sure / 2, generator.random(images) < 0.85)


def right_answers(scored, threshold):
    """Count them image by image."""
    return sum(
        bool(motivated if sure < threshold else base)
        for sure, base, motivated in zip(scored.confidence, scored.base, scored.motivated, strict=True)
    )


@pytest.mark.parametrize('levels', [4, 1000])
@pytest.mark.parametrize('seed', range(5))
def test_thresholds_are_those_of_a_search_over_all(seed, levels):
    scored = random_scores(seed, 60, levels)
    tried = [0.0, *np.unique(scored.confidence)[1:], PASS_ALL]
    counts = [right_answers(scored, threshold) for threshold in tried]
    cuts = all_cuts(scored)
    assert cuts.thresholds.tolist() == tried and cuts.right.tolist() == counts
    assert cuts.passed_on.tolist() == [sum(scored.confidence < threshold) for threshold in tried]
    enough = next(t for t, count in zip(tried, counts, strict=True) if count >= scored.motivated.sum())
    assert equal_accuracy_threshold(scored) == enough
    assert best_accuracy_threshold(scored) == tried[counts.index(max(counts))]


def test_a_base_that_is_as_good_passes_nothing_on():
    scored = random_scores(0, 40)
    same = Scored(scored.confidence, scored.motivated, scored.motivated)
    assert equal_accuracy_threshold(same) == best_accuracy_threshold(same) == 0.0
    assert judge(same, 0.0, MACS).macs.value == 100


def test_point_counts_each_image_once_and_the_base_model_on_all():
    scored = random_scores(3, 200)
    point = judge(scored, 0.4, MACS)
    passed = sum(sure < 0.4 for sure in scored.confidence) / 200
    assert point.passed_on.value == pytest.approx(passed)
    assert point.macs.value == pytest.approx(100 + passed * 400)
    accuracy = right_answers(scored, 0.4) / 2
    base, motivated = 100 * scored.base.mean(), 100 * scored.motivated.mean()
    assert point.accuracy.value == pytest.approx(accuracy)
    assert point.over_base.value == pytest.approx(accuracy - base)
    assert point.over_motivated.value == pytest.approx(accuracy - motivated)
    # Of images drawn at random a share r goes to the motivated model alone: (1 - r) 100 + r 400 MACs, as many.
    r = passed * 400 / 300
    assert point.over_random.value == pytest.approx(accuracy - (1 - r) * base - r * motivated)


def test_all_images_passed_on_are_compared_with_the_motivated_model():
    scored = random_scores(3, 200)
    point = judge(scored, PASS_ALL, MACS)
    assert point.macs.value == 500 and point.passed_on.value == 1
    assert point.over_motivated.value == point.over_random.value == 0


@pytest.mark.parametrize('seed', [0, 1])
def test_halves_are_even_in_every_class(seed):
    targets = np.random.default_rng(7).integers(0, 5, 101)
    first, second = halves(targets, seed)
    assert sorted([*first, *second]) == list(range(101)) and len(first) == 51
    for number in range(5):
        assert abs(sum(targets[first] == number) - sum(targets[second] == number)) <= 1
    assert not np.array_equal(first, halves(targets, seed + 1)[0])


def random_logits(images, classes=4):
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(classes, (images,), generator=generator)
    clear = torch.nn.functional.one_hot(targets, classes).float()
    noise = [torch.randn(images, classes, generator=generator) for _ in range(2)]
    return {'base': clear + noise[0], 'motivated': 1.5 * clear + noise[1]}, targets


@pytest.mark.parametrize('measure', ['probability', 'margin', 'entropy'])
def test_thresholds_are_chosen_on_one_half_and_judged_on_the_other(measure):
    logits, targets = random_logits(301)
    found = assess(logits, targets, MACS, measure, seed=3)
    second = halves(targets.numpy(), 3)[1]
    assert (found.chosen_on, found.images) == (151, 150)
    other = {name: scores.clone() for name, scores in logits.items()}
    for scores in other.values():
        scores[second] = torch.randn(150, 4)
    again = assess(other, targets, MACS, measure, seed=3)
    for point in ('equal_accuracy', 'best_accuracy'):
        assert getattr(again, point).threshold == getattr(found, point).threshold
        assert getattr(again, point).accuracy != getattr(found, point).accuracy
    right = (logits['motivated'].argmax(1) == targets)[second].float().mean()
    assert found.alone['motivated'].value == pytest.approx(100 * right.item())
    assert found.curve[0].passed_on.value == 0 and found.curve[-1].passed_on.value == 1
    assert found.curve[0].accuracy == found.alone['base'] and found.curve[-1].accuracy == found.alone['motivated']
    assert json.loads(json.dumps(found.to_json()))['equal_accuracy']['threshold'] == found.equal_accuracy.threshold


def test_oracle_and_groups_follow_their_definitions():
    logits, targets = random_logits(300)
    found = assess(logits, targets, MACS)
    second = halves(targets.numpy(), 0)[1]
    base, motivated = ((logits[name].argmax(1) == targets).numpy()[second] for name in ('base', 'motivated'))
    assert found.oracle_accuracy == pytest.approx(100 * (base | motivated).mean())
    assert found.oracle_macs == pytest.approx(100 + 400 * (motivated & ~base).mean())
    sure = logits['base'].softmax(1).max(1).values.numpy()[second]
    least = np.argsort(sure)[:15]
    assert len(found.groups) == 10
    assert found.groups[0].base == pytest.approx(100 * base[least].mean())
    assert found.groups[0].motivated == pytest.approx(100 * motivated[least].mean())


def test_too_few_images_and_different_classes_are_one_sentence_each():
    logits, targets = random_logits(19)
    with pytest.raises(ConfigError, match='there are 19 validation images, and two halves need at least 20'):
        assess(logits, targets, MACS)
    logits['motivated'] = logits['motivated'][:, :3]
    with pytest.raises(ConfigError, match='the base model has 4 classes and the motivated model 3'):
        assess(logits, targets, MACS)
