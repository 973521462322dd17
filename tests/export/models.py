"""Models to export, with weights under which every part of a network shows in its logits."""

import runpy

import torch

from motivation.export.deployable import Deployable
from motivation.export.exported_model import export_model
from motivation.models import TimmClassifier
from motivation.weight_maps.random_weights import randomise, take_statistics


def images_of(count, channels=3, size=32):
    """Return uint8 images with edges and areas, as photographs have and noise has not."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, channels, 4, 4, generator=generator) * 255
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode='bicubic')
    return smooth.clamp(0, 255).to(torch.uint8)


def saved_model(path, model_name, classes=('ant', 'bee', 'cat'), size=32, metainfo=None, **arguments):
    """Write a model with random weights and statistics as a run does, and return it loaded."""
    if arguments.get('in_chans') == 1:
        arguments = {'mean': [0.4], 'std': [0.3], **arguments}
    config = dict(type='TimmClassifier', model_name=model_name, num_classes=len(classes), **arguments)
    model = TimmClassifier(**{key: value for key, value in config.items() if key != 'type'}).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        randomise(model.state_dict(), 1.5, generator)
        images = images_of(16, model.input_size[0], size)
        take_statistics(model, model.data_preprocessor({'inputs': images}))
    described = {
        'classes': list(classes),
        'input_size': [model.input_size[0], size, size],
        'transforms': [{'type': 'Resize', 'size': [size, size]}],
        'image_mode': 'L' if model.input_size[0] == 1 else 'RGB',
    }
    export_model(model, config, path, metainfo=described | (metainfo or {}))
    return Deployable.load(path)


def runtime(exporter):
    """Run the file of a format's runtime, as a process without this framework does, and return its ``load``."""
    return runpy.run_path(str(exporter.runtime))['load']
