"""A simulated run without models: batches, signals, and a compute meter driven by the decisions of a policy."""

from motivation.compute.macs import Macs, ModelMacs, StepMacs
from motivation.compute.meter import ComputeMeter

# Compute of an imaginary pair, with a fixed cost for each step.
MACS = {
    'base': ModelMacs(Macs(10), StepMacs(Macs(10, 3), Macs(15)), Macs(10), StepMacs(Macs(10, 3), Macs(15, 1))),
    'motivated': ModelMacs(Macs(40), StepMacs(Macs(40, 2), Macs(60, 5)), Macs(40), StepMacs(Macs(40, 2), Macs(60, 4))),
}


class Simulation:
    """Updates a policy with exactly the signals it declares, as the hook does."""

    def __init__(self, losses, batches_per_epoch=5, batch_size=8, last_batch=3, distillation=False, **signals):
        assert len(losses) % batches_per_epoch == 0
        self.losses = losses
        self.per_epoch = batches_per_epoch
        self.sizes = [last_batch if (i + 1) % batches_per_epoch == 0 else batch_size for i in range(len(losses))]
        self.batch_size = batch_size
        self.distillation = distillation
        self.given = signals  # lists with one value for each batch
        self.meter = ComputeMeter(MACS)
        self.active = []  # whether each batch was motivated
        self.decisions = []

    def run(self, policy, begin=0, end=None, motivated=False):
        for i in range(begin, len(self.losses) if end is None else end):
            self.active.append(motivated)
            self.meter.add_batch(
                'motivated' if motivated else 'base', self.sizes[i], distilled=motivated and self.distillation
            )
            everything = {
                'iter': i + 1,
                'max_iters': len(self.losses),
                'progress': (i + 1) / len(self.losses),
                'epoch': (i + 1) // self.per_epoch,
                **{name: values[i] for name, values in self.given.items()},
            }
            if 'compute' in policy.signals:
                everything['compute'] = self.meter.forecast(
                    len(self.losses), sum(self.sizes), self.batch_size, self.distillation
                )
            motivated = policy.update(self.losses[i], **{name: everything[name] for name in policy.signals})
            self.decisions.append(motivated)
        return self


def decide(policy, losses, **signals):
    """Return the decisions of a policy on a sequence of losses; by default the sequence is one epoch."""
    signals.setdefault('batches_per_epoch', len(losses))
    return Simulation(losses, **signals).run(policy).decisions
