"""The recipe that the study tests, in one place; the stable-decay schedule is that of each config.

With one batch in six motivated it costs base + motivated / 6 a batch (tools/get_flops.py), which is 1.51 trainings of
ResNet-20 or 0.49 of ResNet-56, and 1.63 or 0.43 of the two ViTs: the lengths of each model alone at equal FLOPs.
"""

motivation = dict(policy=dict(type='ConsecutiveDrop', drops=2))

# On motivated batches the base model also takes a step towards the outputs of the motivated model.
_distillation = dict(weight=0.5)

comparison = dict(seeds=[0, 1, 2, 3, 4], metric='accuracy/top1')
