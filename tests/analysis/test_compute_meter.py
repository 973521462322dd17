import pytest

from motivation.analysis.compute_meter import ComputeMeter
from motivation.analysis.macs import Macs, ModelMacs

MACS = {
    'base': ModelMacs(network=Macs(9), forward=Macs(10), backward=Macs(15), inference=Macs(8)),
    'motivated': ModelMacs(network=Macs(90), forward=Macs(100, 3), backward=Macs(190, 4), inference=Macs(80, 2)),
}


def trained(processes=1, distilled=()):
    """Two batches of the base, one of them small, and one of the motivated model."""
    meter = ComputeMeter(MACS, processes)
    meter.trained['base'].add(64, seconds=0.25)
    meter.trained['base'].add(29, seconds=0.15)
    meter.trained['motivated'].add(64, seconds=2.0)
    for images in distilled:
        meter.distilled.add(images)
    return meter


def test_flops_are_twice_the_macs_of_true_batch_sizes():
    meter = trained()
    assert meter.forward_flops('base') == 2 * 93 * 10 and meter.backward_flops('base') == 2 * 93 * 15
    assert meter.forward_flops('motivated') == 2 * (64 * 100 + 3)
    assert meter.backward_flops('motivated') == 2 * (64 * 190 + 4)
    assert meter.train_flops('motivated') == 2 * (64 * 290 + 7)
    assert meter.total_train_flops == 2 * 93 * 25 + 2 * (64 * 290 + 7)


def test_motivated_alone_would_have_trained_on_every_batch():
    assert trained().motivated_alone_train_flops == 2 * ((64 + 29 + 64) * 290 + 3 * 7)


def test_what_a_batch_costs_whatever_its_size_is_paid_by_every_process():
    meter = trained(processes=4)
    assert meter.train_flops('motivated') == 2 * (64 * 290 + 4 * 7)
    assert meter.motivated_alone_train_flops == 2 * ((64 + 29 + 64) * 290 + 4 * 3 * 7)
    assert meter.forecast(10, 640, 64, False).batch['motivated'] == 2 * (64 * 290 + 4 * 7)


def test_rates_are_of_the_batches_of_one_model():
    meter = trained(distilled=[64])
    assert meter.images_per_second('base') == pytest.approx(93 / 0.4)
    assert meter.flops_per_second('base') == pytest.approx(2 * 93 * 25 / 0.4)
    assert meter.images_per_second('motivated') == 64 / 2
    # The base's further step took part of the motivated batch's time.
    assert meter.flops_per_second('motivated') == (2 * (64 * 290 + 7) + 2 * 64 * 25) / 2
    assert ComputeMeter(MACS).images_per_second('base') is ComputeMeter(MACS).flops_per_second('base') is None


def test_evaluation_and_reestimation_are_counted_apart_in_evaluation_mode():
    meter = trained()
    before = meter.total_train_flops
    meter.evaluated['base'].add(360, iters=6)
    meter.evaluated['motivated'].add(360, iters=6)
    meter.reestimated['motivated'].add(100, iters=2)
    assert meter.evaluation_flops('base') == 2 * 360 * 8 and meter.evaluation_flops('motivated') == 2 * (360 * 80 + 12)
    assert meter.reestimation_flops('base') == 0 and meter.reestimation_flops('motivated') == 2 * (100 * 80 + 4)
    assert meter.total_train_flops == before


def test_restored_meter_counts_on():
    meter, restored = trained(distilled=[64]), ComputeMeter(MACS)
    meter.evaluated['base'].add(10)
    meter.reestimated['base'].add(20)
    restored.load_state_dict(meter.state_dict())
    assert restored.describe('base') == meter.describe('base')
    assert restored.describe('motivated') == meter.describe('motivated')
    restored.trained['base'].add(1)
    assert restored.total_train_flops == meter.total_train_flops + 2 * 25


def test_distillation_costs_the_base_a_step_and_is_no_batch_of_its_own():
    meter = ComputeMeter(MACS)
    meter.trained['motivated'].add(64)
    meter.distilled.add(64)
    assert meter.describe('base')['iters'] == 0 and meter.describe('motivated')['iters'] == 1
    assert meter.train_flops('base') == 2 * 64 * 25
    assert meter.motivated_alone_train_flops == 2 * (64 * 290 + 7)


def test_forecast_is_what_the_rest_of_the_run_would_cost():
    """Ten batches of 64, the last of 20; two base, one motivated done, and one of the base's further steps."""
    meter = ComputeMeter(MACS)
    for model in ('base', 'base', 'motivated'):
        meter.trained[model].add(64)
    meter.distilled.add(64)
    images = 9 * 64 + 20
    base, motivated = (lambda n, i: 2 * 25 * i), (lambda n, i: 2 * (290 * i + 7 * n))
    plain = meter.forecast(10, images, 64, distillation=False)
    assert plain.spent == base(3, 3 * 64) + motivated(1, 64)
    assert plain.left == {'base': base(7, images - 192), 'motivated': motivated(7, images - 192)}
    assert plain.batch == {'base': base(1, 64), 'motivated': motivated(1, 64)}
    assert plain.motivated_alone == motivated(10, images)
    distilled = meter.forecast(10, images, 64, distillation=True)
    assert distilled.batch == {'base': base(1, 64), 'motivated': motivated(1, 64) + base(1, 64)}
    assert distilled.left['motivated'] == motivated(7, images - 192) + base(7, images - 192)
    assert distilled.motivated_alone == plain.motivated_alone
