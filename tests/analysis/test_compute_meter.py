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
