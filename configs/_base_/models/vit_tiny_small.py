"""A ViT in one of twice the width, for 32 x 32 pixels: three of the six heads belong to the base model."""

_vit = dict(
    type='TimmClassifier',
    model_name='vit_tiny_patch16_224',
    num_classes=10,
    img_size=32,
    patch_size=4,
    depth=6,
    mean=[0.4914, 0.4822, 0.4465],
    std=[0.2470, 0.2435, 0.2616],
)
model = dict(
    type='DualModel',
    base=dict(**_vit, embed_dim=96, num_heads=3),
    motivated=dict(**_vit, embed_dim=192, num_heads=6),
    weight_map=dict(type='AutoMap'),
)
