"""EfficientNet-B0 in B2, which is deeper and wider, with a stem of stride 1 for 32 x 32 pixels."""

_efficientnet = dict(
    type='TimmClassifier', num_classes=10, stem='cifar', mean=[0.4914, 0.4822, 0.4465], std=[0.2470, 0.2435, 0.2616]
)
model = dict(
    type='DualModel',
    base=dict(**_efficientnet, model_name='efficientnet_b0'),
    motivated=dict(**_efficientnet, model_name='efficientnet_b2'),
    weight_map=dict(type='AutoMap'),
)
