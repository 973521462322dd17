"""The recipe that the study tests, in one place; the stable-decay schedule is that of each config."""

motivation = dict(policy=dict(type='ConsecutiveDrop', drops=2))

# On motivated batches the base model also takes a step towards the outputs of the motivated model.
_distillation = dict(weight=0.5)

comparison = dict(seeds=[0, 1, 2, 3, 4], metric='accuracy/top1')
