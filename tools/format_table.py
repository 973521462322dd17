"""Print the table of docs/deploying.md: how far each network is from PyTorch in each format, on real images.

Each network is trained for a few steps, because untrained residual branches are zero and hide errors, is exported, and
runs in a process that does not import this framework. Takes half an hour of one core.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from motivation.errors import ConfigError, check_stack, clear_errors

NETWORKS: list[tuple[str, int, dict[str, Any]]] = [
    ('resnet18', 224, {}),
    ('mobilenetv3_small_050', 224, {}),
    ('efficientnet_b0', 224, {}),
    ('vit_tiny_patch16_224', 224, {}),
    ('convnext_atto', 224, {}),
    ('cifar_resnet8', 32, {}),
    ('cifar_resnet20', 32, {}),
    ('resnet18', 32, dict(stem='cifar')),
    ('efficientnet_b0', 32, dict(stem='cifar')),
]
HEADS: dict[str, dict[str, Any]] = {
    '10 classes, RGB, normalised': dict(num_classes=10),
    '3 classes, grey, uint8': dict(num_classes=3, in_chans=1, mean=[0.48], std=[0.24]),
}
FORMATS = ('timm', 'torch', 'onnx', 'executorch')
STEPS, BATCH, TESTED = 40, 16, 32


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--root', default='data/cifar10', help='CIFAR-10 as image folders, with train and test')
    return parser.parse_args()


def main() -> None:
    check_stack()
    args = parse_args()

    # Imported after check_stack(), which reports a broken installation in one sentence.
    import torch
    from mmengine.logging import MMLogger
    from torch.nn.functional import cross_entropy
    from torchvision.transforms.v2.functional import resize, rgb_to_grayscale

    from motivation.datasets import TimmDataset, spread
    from motivation.export.deployable import Deployable
    from motivation.export.formats import choose_formats
    from motivation.export.measured_file import DoesNotRunError, MeasuredFile
    from motivation.export.model_card import needed_to_load
    from motivation.models import TimmClassifier
    from motivation.utils.logs import warn_on_terminal

    warn_on_terminal(MMLogger.get_current_instance())

    def read(split: str, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        dataset = TimmDataset(args.root, split=split)
        samples = [dataset[index] for index in spread(dataset, count)]
        return torch.stack([each['inputs'] for each in samples]), torch.tensor([each['targets'] for each in samples])

    def trained(name: str, size: int, arguments: dict[str, Any]) -> tuple[Deployable, torch.Tensor, torch.Tensor]:
        """Return a model, training images and test images as it takes them."""
        torch.manual_seed(0)
        model = TimmClassifier(name, **arguments).train()
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3)

        def fitted(images: torch.Tensor) -> torch.Tensor:
            images = resize(images, [size, size], antialias=True)
            return rgb_to_grayscale(images) if arguments.get('in_chans') == 1 else images

        for step in range(STEPS):
            chosen = slice(step * BATCH % len(images), step * BATCH % len(images) + BATCH)
            batch = model.data_preprocessor({'inputs': fitted(images[chosen])})['inputs']
            loss = cross_entropy(model(batch), targets[chosen] % arguments['num_classes'])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.metainfo = {'input_size': [model.input_size[0], size, size]}
        return Deployable(model.eval(), 'in_chans' in arguments), fitted(images[:BATCH]), fitted(tested)

    @torch.no_grad()
    def difference(name: str, deployable: Deployable, examples: torch.Tensor, test: torch.Tensor) -> str:
        """Return the largest difference of a logit over the largest logit, or why there is none."""
        exporter = formats[name]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / exporter.file
            try:
                exporter().export(deployable, examples, path)
            except ConfigError as error:
                return str(error)
            file = MeasuredFile(exporter.runtime, path)
            try:
                file.wait()
                form = deployable if file.takes_uint8 == deployable.raw_input else Deployable(deployable.model)
                inputs = form.inputs(test)
                expected = form.network()(inputs)
                found = torch.from_numpy(file.run(inputs.numpy()))
            except DoesNotRunError as error:
                return str(error)
            finally:
                file.close()
            needed = '' if name != 'timm' or needed_to_load(path.parent) == '' else ' (not by timm alone)'
            return f'{float((found - expected).abs().max() / expected.abs().max()):.1e}{needed}'

    images, targets = read('train', 20 * BATCH)
    tested, _ = read('test', TESTED)
    formats, _ = choose_formats(FORMATS)
    print(f'| network | | {" | ".join(FORMATS)} |')
    print(f'| :-- | :-- |{" --: |" * len(FORMATS)}')
    for name, size, own in NETWORKS:
        for label, head in HEADS.items():
            deployable, examples, test = trained(name, size, {**own, **head})
            cells = [difference(each, deployable, examples, test) for each in FORMATS]
            stem = f", `stem='{own['stem']}'`" if own else ''
            print(f'| `{name}`{stem}, {size} px | {label} | {" | ".join(cells)} |', flush=True)


if __name__ == '__main__':
    with clear_errors():
        main()
