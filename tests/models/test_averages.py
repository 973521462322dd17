"""Averaged weights of both models, against averages written out by hand."""

import copy

import pytest
import torch
from torch import nn

from motivation.errors import ConfigError
from motivation.models import DualModel
from motivation.models.averages import Averages
from motivation.structures import MODEL_NAMES, averaged_name, model_of, split_metric
from motivation.weight_maps import WeightMap
from motivation.weight_maps.index import mesh
from tests.conftest import classifier, small_batch, small_dual_model, snapshot
from tests.engine.step_runs import Reads
from tests.models.test_dual_model import optimizers

PAIRS = {
    'depth': (dict(model_name='cifar_resnet20'), dict(type='DepthMap')),
    'width': (dict(model_name='cifar_resnet8', width=2), dict(type='AutoMap', channels='seeded')),
}


def dual_model(pair='depth', ema=None, **options):
    motivated, weight_map = PAIRS[pair]
    torch.manual_seed(0)
    base = classifier('cifar_resnet8')
    return DualModel(base, classifier(**motivated), weight_map, ema={} if ema is None else ema, **options).double()


def averaged(model):
    return {name: model.scored()[averaged_name(name)].state_dict() for name in MODEL_NAMES}


def weights(model):
    return {name: snapshot(getattr(model, name)) for name in MODEL_NAMES}


def made_current(model, before, active, woken, shared):
    """Return the weights of both models, with what they share taken from the active one, entry by entry."""
    now, other = weights(model), 'base' if active == 'motivated' else 'motivated'
    now[other] = {name: tensor.clone() for name, tensor in before[other].items()}
    for pair in model.weight_map.pairs:
        if pair.is_statistic and not shared and woken:
            continue
        image = mesh(pair.index, now['motivated'][pair.motivated].shape)
        if active == 'base':
            now['motivated'][pair.motivated][image] = now['base'][pair.base]
        else:
            now['base'][pair.base] = now['motivated'][pair.motivated][image].clone()
    return now


@pytest.mark.parametrize(
    ('pair', 'options', 'ema'),
    [
        ('depth', {}, dict(decay=0.7, use_warmup=False)),
        ('width', {}, dict(decay=0.7, use_warmup=False, update_after_step=1)),
        ('depth', dict(statistics='shared'), dict(decay=0.95, warmup_gamma=2.0, warmup_power=0.75)),
    ],
)
def test_both_averages_are_those_written_out_by_hand_over_steps_and_switches(pair, options, ema):
    model = dual_model(pair, ema, **options)
    wrappers, expected, woken = optimizers(model), {}, False
    model.train()
    for step, switch in enumerate((None, model.activate, None, model.deactivate, None, model.activate)):
        if switch is not None:
            switch()
        woken = woken or model.active == 'motivated'
        before = weights(model)
        model.train_step(small_batch(step, 8), wrappers)
        current = made_current(model, before, model.active, woken, options.get('statistics') == 'shared')
        model.average()
        after = step - ema.get('update_after_step', 0)
        decay = ema['decay'] if after > 0 else 0.0
        if after > 0 and ema.get('use_warmup', True):
            decay = min(decay, 1 - (1 + after / ema['warmup_gamma']) ** -ema['warmup_power'])
        for name in MODEL_NAMES:
            for key, value in current[name].items():
                if not value.is_floating_point() or not expected.get(name, {}).keys() & {key}:
                    expected.setdefault(name, {})[key] = value
                else:
                    expected[name][key] = decay * expected[name][key] + (1 - decay) * value
    for name, average in averaged(model).items():
        assert average.keys() == expected[name].keys()
        for key, value in average.items():
            torch.testing.assert_close(value, expected[name][key], rtol=1e-12, atol=1e-14, msg=f'{name} {key}')
        assert any(not torch.equal(value, current[name][key]) for key, value in average.items())


def test_averages_contain_one_another_like_the_models():
    model = dual_model('width', dict(decay=0.5))
    wrappers = optimizers(model)
    for step in range(4):
        model.train_step(small_batch(step), wrappers)
        model.average()
        (model.activate, model.deactivate)[step % 2]()
    average = averaged(model)
    for pair in model.weight_map.pairs:
        if not pair.is_statistic:
            image = average['motivated'][pair.motivated][mesh(pair.index, average['motivated'][pair.motivated].shape)]
            assert torch.equal(average['base'][pair.base], image), pair


def test_until_it_is_woken_the_averaged_motivated_model_computes_the_averaged_base_models_function():
    model = dual_model('depth', dict(decay=0.5))
    wrappers = optimizers(model)
    for step in range(3):
        model.train_step(small_batch(step), wrappers)
        model.average()
    predictions = {
        name: torch.stack([row['logits'] for row in rows])
        for name, rows in model.val_step(small_batch(9), [*model.scored()]).items()
    }
    assert torch.equal(predictions['base/ema'], predictions['motivated/ema'])
    assert not torch.allclose(predictions['base/ema'], predictions['base'])


def test_training_state_dict_and_random_state_are_the_same_with_averages():
    models = dual_model('depth', dict(decay=0.5)), dual_model('depth', dict(decay=0.5))
    models[1].averages = None
    states = []
    for model in models:
        torch.manual_seed(1)
        wrappers = optimizers(model)
        for step in range(4):
            model.train_step(small_batch(step), wrappers)
            model.average()
            (model.activate, model.deactivate)[step % 2]()
        states.append({**snapshot(model), 'random': torch.get_rng_state()})
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_before_the_first_step_and_after_a_restart_averages_are_the_current_weights():
    model = dual_model('depth', dict(decay=0.9, use_warmup=False))
    with torch.no_grad():  # after they were first looked at
        assert torch.equal(model.scored()['base/ema'].backbone.fc.bias, model.base.backbone.fc.bias)
        model.base.backbone.fc.bias += 1
    assert torch.equal(model.scored()['base/ema'].backbone.fc.bias, model.base.backbone.fc.bias)
    for _ in range(2):
        model.average()
        model.base.backbone.fc.bias.data += 1
    assert not torch.equal(model.scored()['base/ema'].backbone.fc.bias, model.base.backbone.fc.bias)
    model.averages.restart()
    model.average()
    assert torch.equal(model.scored()['base/ema'].backbone.fc.bias, model.base.backbone.fc.bias)


def test_restored_averages_go_on_bit_for_bit():
    model = dual_model('depth', dict(decay=0.9))
    wrappers = optimizers(model)
    for step in range(3):
        model.train_step(small_batch(step), wrappers)
        model.average()
    saved = copy.deepcopy(model.averages.state_dict())
    other = dual_model('depth', dict(decay=0.9))
    other.load_state_dict(model.state_dict())
    other.averages.load_state_dict(saved)
    for each in (model, other):
        each.base.backbone.fc.bias.data += 1
        each.average()
    for name, average in averaged(other).items():
        assert all(torch.equal(value, averaged(model)[name][key]) for key, value in average.items())


def test_averaging_never_waits_for_the_device():
    model, seen = dual_model('width', dict(decay=0.9)), []
    model.average()
    with Reads(seen):
        model.average()
    assert seen == []


class Tied(nn.Module):
    """Two layers with one weight, and a buffer that is replaced instead of written to."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        self.second.weight = self.first.weight
        self.register_buffer('scale', torch.zeros(2))


def test_tied_weights_are_averaged_once_and_replaced_buffers_are_found():
    models = Tied(), Tied()
    names = ('first.weight', 'second.weight', 'scale')
    averages = Averages(WeightMap(*models, [(name, name) for name in names]), decay=0.75, use_warmup=False)
    nn.init.zeros_(models[0].first.weight)
    averages.update()
    nn.init.ones_(models[0].first.weight)
    models[0].scale = torch.ones(2)
    averages.update()
    for average in averages.models.values():
        assert average.first.weight is average.second.weight
        assert torch.equal(average.second.weight, torch.full((2, 2), 0.25))
        assert torch.equal(average.scale, torch.full((2,), 0.25))


def test_no_averages_without_ema():
    model = small_dual_model()
    model.average()
    assert model.averages is None and [*model.scored()] == ['base', 'motivated']


@pytest.mark.parametrize(
    ('ema', 'message'),
    [
        (dict(decay=1.0), r'^ema\.decay must be below 1, got 1\.0$'),
        (dict(decay='0.99'), r"^ema\.decay must be a finite number, got '0\.99'$"),
        (dict(dekay=0.9), r"^ema\.dekay is not an argument of Averages; did you mean 'decay'\?$"),
        (dict(weight_map=1), r'^ema\.weight_map is not an argument of Averages; '),
        (dict(update_after_step=-1), r'^ema\.update_after_step must be at least 0, got -1$'),
        (dict(use_warmup=1), r'^ema\.use_warmup must be True or False, got 1$'),
        (dict(warmup_power=0), r'^ema\.warmup_power must be above 0, got 0$'),
        (0.999, r'^ema must be a dict or None, got 0\.999; write dict\(decay=0\.999\)$'),
        (True, r'^ema must be a dict or None, got True; write dict\(decay=0\.999\)$'),
    ],
)
def test_bad_values_raise_with_their_field(ema, message):
    with pytest.raises(ConfigError, match=message):
        dual_model('depth', ema)


def test_weights_too_coarse_to_average_raise():
    with pytest.raises(
        ConfigError, match=r'^ema averages weights of float32 or float64, and those of model\.motivated'
    ):
        Averages(linear_map(nn.Linear(1, 1), nn.Linear(1, 1).bfloat16()))


def linear_map(base, motivated):
    return WeightMap(base, motivated, [('weight', 'weight'), ('bias', 'bias')])


class Uncopied(nn.Linear):
    def __deepcopy__(self, memo):
        raise TypeError('cannot pickle a lock')


def test_model_that_cannot_be_copied_raises_one_sentence():
    averages = Averages(linear_map(Uncopied(1, 1), nn.Linear(1, 1)))
    with pytest.raises(
        ConfigError, match=r'^ema needs copies of both models, and copy\.deepcopy fails: TypeError: cannot'
    ):
        averages.update()


def test_names_of_averages_and_their_metrics_are_split():
    assert [model_of(name) for name in ('base', 'base/ema', 'motivated/ema')] == ['base', 'base', 'motivated']
    assert split_metric('base/ema/accuracy/top1') == ('base/ema', 'accuracy/top1')
    assert split_metric('motivated/accuracy/top1') == ('motivated', 'accuracy/top1')
