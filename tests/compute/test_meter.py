import pytest

from motivation.compute.macs import Macs, ModelMacs, StepMacs
from motivation.compute.meter import ComputeMeter

MACS = {
    'base': ModelMacs(Macs(9), StepMacs(Macs(10), Macs(15)), Macs(8), StepMacs(Macs(9), Macs(14))),
    'motivated': ModelMacs(
        Macs(90), StepMacs(Macs(100, 3), Macs(190, 4)), Macs(80, 2), StepMacs(Macs(90, 3), Macs(180, 4))
    ),
}


def trained(processes=1, distilled=False):
    """Return a meter after two base batches, one of them small, and one motivated batch."""
    meter = ComputeMeter(MACS, processes)
    meter.add_batch('base', 64, seconds=0.25)
    meter.add_batch('base', 29, seconds=0.15)
    meter.add_batch('motivated', 64, seconds=2.0, distilled=distilled)
    return meter


def test_flops_are_twice_the_macs_of_true_batch_sizes():
    meter = trained()
    assert meter.forward_flops('base') == 2 * 93 * 10 and meter.backward_flops('base') == 2 * 93 * 15
    assert meter.forward_flops('motivated') == 2 * (64 * 100 + 3)
    assert meter.backward_flops('motivated') == 2 * (64 * 190 + 4)
    assert meter.train_flops('motivated') == 2 * (64 * 290 + 7)
    assert meter.total_train_flops == 2 * 93 * 25 + 2 * (64 * 290 + 7)


def test_motivated_alone_trains_on_every_batch():
    assert trained().motivated_alone_train_flops == 2 * ((64 + 29 + 64) * 290 + 3 * 7)


def test_macs_per_batch_are_counted_for_every_process():
    meter = trained(processes=4)
    assert meter.train_flops('motivated') == 2 * (64 * 290 + 4 * 7)
    assert meter.motivated_alone_train_flops == 2 * ((64 + 29 + 64) * 290 + 4 * 3 * 7)
    assert meter.forecast(10, 640, 64, False).batch['motivated'] == 2 * (64 * 290 + 4 * 7)


def test_rates_are_of_the_batches_of_one_model():
    meter = trained(distilled=True)
    assert meter.images_per_second('base') == pytest.approx(93 / 0.4)
    assert meter.flops_per_second('base') == pytest.approx(2 * 93 * 25 / 0.4)
    assert meter.images_per_second('motivated') == 64 / 2
    # The distillation step is part of the duration of the motivated batch.
    assert meter.flops_per_second('motivated') == (2 * (64 * 270 + 7) + 2 * 64 * 23) / 2
    assert ComputeMeter(MACS).images_per_second('base') is ComputeMeter(MACS).flops_per_second('base') is None


def test_evaluation_and_reestimation_are_not_training():
    meter = trained()
    before = meter.total_train_flops
    meter.evaluated['base'].add(360, forward_flops=2 * 360 * 8, iters=6)
    meter.reestimated['motivated'].add(100, forward_flops=2 * 100 * 80, iters=2)
    assert meter.evaluation_flops('base') == 2 * 360 * 8 and meter.evaluation_flops('motivated') == 0
    assert meter.reestimation_flops('base') == 0 and meter.reestimation_flops('motivated') == 2 * 100 * 80
    assert meter.total_train_flops == before


def test_restored_meter_continues_to_count():
    meter, restored = trained(distilled=True), ComputeMeter(MACS)
    meter.evaluated['base'].add(10, forward_flops=80)
    meter.reestimated['base'].add(20, forward_flops=160)
    meter.add_batch('base', 5, skipped=True)
    restored.load_state_dict(meter.state_dict())
    assert restored.describe('base') == meter.describe('base')
    assert restored.describe('motivated') == meter.describe('motivated')
    assert restored.motivated_alone_train_flops == meter.motivated_alone_train_flops
    restored.add_batch('base', 1)
    assert restored.total_train_flops == meter.total_train_flops + 2 * 25


def test_skipped_batch_has_both_passes_and_is_not_trained_on():
    meter = ComputeMeter(MACS)
    meter.add_batch('motivated', 64, skipped=True)
    assert meter.train_flops('motivated') == 2 * (64 * 290 + 7)
    assert meter.describe('motivated')['iters'] == 0
    assert meter.motivated_alone_train_flops == 2 * (64 * 290 + 7)


def test_macs_may_change_during_a_run():
    """For example when a hook unfreezes a layer or images grow."""
    meter = trained()
    before, alone = meter.train_flops('base'), meter.motivated_alone_train_flops
    meter.macs = {**MACS, 'base': MACS['base']._replace(step=StepMacs(Macs(10), Macs(20)))}
    meter.add_batch('base', 64)
    assert meter.train_flops('base') == before + 2 * 64 * 30
    assert meter.motivated_alone_train_flops == alone + 2 * (64 * 290 + 7)


def test_distillation_adds_a_base_step_but_no_batch():
    """Both steps are on logits, whose MACs may differ from those of the models' own steps."""
    meter = ComputeMeter(MACS)
    meter.add_batch('motivated', 64, distilled=True)
    assert meter.describe('base')['iters'] == 0 and meter.describe('motivated')['iters'] == 1
    assert meter.train_flops('base') == 2 * 64 * 23
    assert meter.train_flops('motivated') == 2 * (64 * 270 + 7)
    assert meter.motivated_alone_train_flops == 2 * (64 * 290 + 7)


def test_forecast_equals_the_compute_of_the_remaining_batches():
    """The run has ten batches of 64, the last of 20; two base batches and one motivated batch are done."""
    images = 9 * 64 + 20
    base, motivated = (lambda n, i: 2 * 25 * i), (lambda n, i: 2 * (290 * i + 7 * n))
    distilling = lambda n, i: 2 * ((270 + 23) * i + 7 * n)  # noqa: E731
    meters = {}
    for distilled in (False, True):
        meters[distilled] = ComputeMeter(MACS)
        for model in ('base', 'base', 'motivated'):
            meters[distilled].add_batch(model, 64, distilled=distilled and model == 'motivated')
    plain = meters[False].forecast(10, images, 64, distillation=False)
    assert plain.spent == base(2, 2 * 64) + motivated(1, 64)
    assert plain.left == {'base': base(7, images - 192), 'motivated': motivated(7, images - 192)}
    assert plain.batch == {'base': base(1, 64), 'motivated': motivated(1, 64)}
    assert plain.motivated_alone == motivated(10, images)
    distilled = meters[True].forecast(10, images, 64, distillation=True)
    assert distilled.spent == base(2, 2 * 64) + distilling(1, 64)
    assert distilled.batch == {'base': base(1, 64), 'motivated': distilling(1, 64)}
    assert distilled.left['motivated'] == distilling(7, images - 192)
    assert distilled.motivated_alone == plain.motivated_alone
