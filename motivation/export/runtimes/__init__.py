"""Running exported files without this framework.

Each file here imports nothing of this framework, so that it can be read as an example and run where the framework is
not installed. It has a function ``load(path)`` whose result is a model::

    model(inputs)        # numpy (N, C, H, W) -> logits, numpy float32 (N, K)
    model.takes_uint8    # whether inputs are uint8 images, 0 to 255; else they are normalised float32
    model.largest_batch  # largest N that one call takes; None for any
"""
