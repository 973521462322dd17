from motivation.analysis.compute_meter import ComputeMeter
from motivation.analysis.macs import TrainStepMacs

MACS = {'base': TrainStepMacs(10, 15, 0), 'motivated': TrainStepMacs(100, 190, 7)}


def test_flops_are_twice_the_macs_of_true_batch_sizes():
    meter = ComputeMeter(MACS)
    for model, images in [('base', 64), ('base', 29), ('motivated', 64)]:
        meter.update(model, images)
    assert meter.iters == {'base': 2, 'motivated': 1}
    assert meter.images == {'base': 93, 'motivated': 64}
    assert meter.train_flops('base') == 2 * 93 * 25
    assert meter.train_flops('motivated') == 2 * (64 * 290 + 7)
    assert meter.total_train_flops == 2 * 93 * 25 + 2 * (64 * 290 + 7)


def test_motivated_alone_would_have_trained_on_every_batch():
    meter = ComputeMeter(MACS)
    for model, images in [('base', 64), ('base', 29), ('motivated', 64)]:
        meter.update(model, images)
    assert meter.motivated_alone_train_flops == 2 * ((64 + 29 + 64) * 290 + 3 * 7)


def test_restored_meter_counts_on():
    meter, restored = ComputeMeter(MACS), ComputeMeter(MACS)
    meter.update('motivated', 5)
    restored.load_state_dict(meter.state_dict())
    restored.update('base', 1)
    assert restored.total_train_flops == 2 * (5 * 290 + 7) + 2 * 25
    assert meter.total_train_flops == 2 * (5 * 290 + 7)


def test_distillation_costs_the_base_a_step_and_is_no_batch_of_its_own():
    meter, restored = ComputeMeter(MACS), ComputeMeter(MACS)
    meter.update('motivated', 64)
    meter.update_distillation(64)
    restored.load_state_dict(meter.state_dict())
    for one in (meter, restored):
        assert one.iters == {'base': 0, 'motivated': 1}
        assert one.train_flops('base') == 2 * 64 * 25
        assert one.motivated_alone_train_flops == 2 * (64 * 290 + 7)


def test_forecast_is_what_the_rest_of_the_run_would_cost():
    """Ten batches of 64, the last of 20; two base, one motivated done, and one of the base's further steps."""
    meter = ComputeMeter(MACS)
    for model, images in [('base', 64), ('base', 64), ('motivated', 64)]:
        meter.update(model, images)
    meter.update_distillation(64)
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
