"""ResNet-20 in ResNet-56: three of the nine blocks in every stage belong to the base model."""

model = dict(
    type='DualModel',
    base=dict(type='TimmClassifier', model_name='cifar_resnet20', num_classes=10),
    motivated=dict(type='TimmClassifier', model_name='cifar_resnet56', num_classes=10),
    weight_map=dict(type='AutoMap', placement='leading'),
)
