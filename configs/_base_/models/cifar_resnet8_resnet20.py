"""ResNet-8 in ResNet-20: one of the three blocks in every stage belongs to the base model."""

model = dict(
    type='DualModel',
    base=dict(type='TimmClassifier', model_name='cifar_resnet8', num_classes=10),
    motivated=dict(type='TimmClassifier', model_name='cifar_resnet20', num_classes=10),
    weight_map=dict(type='AutoMap', placement='leading'),
)
