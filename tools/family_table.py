"""Print the table of docs/weight_maps.md: which timm models contain which, with the verdict of the verification.

Each pair is mapped by AutoMap and verified at the models' own image size. Takes a few minutes.
"""

import gc

from motivation.errors import ConfigError, check_stack, clear_errors

PAIRS = {
    'ResNet, depth': [('resnet18', 'resnet34'), ('resnet50', 'resnet101'), ('cifar_resnet20', 'cifar_resnet56')],
    'ResNet, width': [('resnet50', 'wide_resnet50_2')],
    'ResNeXt, depth and width of groups': [('resnext50_32x4d', 'resnext101_32x4d'), ('resnext50_32x4d', 'resnext101_32x8d')],
    'EfficientNet, depth': [('efficientnet_b0', 'efficientnet_b1')],
    'EfficientNet, width': [('efficientnet_b1', 'efficientnet_b2')],
    'EfficientNet, compound': [('efficientnet_b0', 'efficientnet_b2'), ('efficientnet_b0', 'efficientnet_b3')],
    'MobileNetV2, width': [('mobilenetv2_050', 'mobilenetv2_100'), ('mobilenetv2_100', 'mobilenetv2_140')],
    'MobileNetV2, compound': [('mobilenetv2_110d', 'mobilenetv2_120d')],
    'MobileNetV3, width': [('mobilenetv3_small_075', 'mobilenetv3_small_100'), ('mobilenetv3_large_075', 'mobilenetv3_large_100')],
    'ViT, width': [('vit_tiny_patch16_224', 'vit_small_patch16_224'), ('vit_small_patch16_224', 'vit_base_patch16_224')],
    'DeiT, width': [('deit_tiny_patch16_224', 'deit_small_patch16_224'), ('deit_tiny_distilled_patch16_224', 'deit_small_distilled_patch16_224')],
    'DeiT3, width': [('deit3_small_patch16_224', 'deit3_base_patch16_224')],
    'EVA-02, width': [('eva02_tiny_patch14_224', 'eva02_small_patch14_224')],
    'ConvNeXt, depth': [('convnext_tiny', 'convnext_small')],
    'ConvNeXt, width': [('convnext_atto', 'convnext_femto'), ('convnext_femto', 'convnext_pico')],
    'Swin, depth': [('swin_tiny_patch4_window7_224', 'swin_small_patch4_window7_224')],
    'Swin, width': [('swin_small_patch4_window7_224', 'swin_base_patch4_window7_224')],
    'Swin V2, depth': [('swinv2_tiny_window8_256', 'swinv2_small_window8_256')],
    'MLP-Mixer, compound': [('mixer_s16_224', 'mixer_b16_224')],
    'PoolFormer, depth': [('poolformer_s12', 'poolformer_s24')],
    'do not fit': [
        ('resnet18', 'resnet50'),
        ('convnext_nano', 'convnext_tiny'),
        ('mobilenetv3_small_100', 'mobilenetv3_large_100'),
        ('mobilenetv3_small_050', 'mobilenetv3_small_100'),
        ('regnetx_002', 'regnetx_004'),
        ('densenet121', 'densenet169'),
    ],
}  # fmt: skip


def main() -> None:
    check_stack()

    # Imported after check_stack(), which reports a broken installation in one sentence.
    import timm
    import torch

    import motivation.models  # noqa: F401, registers cifar_resnet*
    from motivation.weight_maps import AutoMap, verify

    print('| | base in motivated | shared tensors | of a larger one | coverage | verdict |')
    print('| :-- | :-- | --: | --: | --: | :-- |')
    for family, pairs in PAIRS.items():
        for names in pairs:
            torch.manual_seed(0)
            base, motivated = (timm.create_model(name, num_classes=10) for name in names)
            pair = f'`{names[0]}` in `{names[1]}`'
            try:
                weight_map = AutoMap(base, motivated)
            except ConfigError as error:
                print(
                    f'| {family} | {pair} | | | | {str(error).removeprefix("the base model does not fit: ")} |',
                    flush=True,
                )
                continue
            partial = sum(bool(tensors.index) for tensors in weight_map.pairs)
            verdict = verify(weight_map)
            print(
                f'| {family} | {pair} | {len(weight_map.pairs)} | {partial} | {weight_map.coverage:.1%} | {verdict} |',
                flush=True,
            )
            del base, motivated, weight_map
            gc.collect()


if __name__ == '__main__':
    with clear_errors():
        main()
