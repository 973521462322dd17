"""What every run has: its seed, its hooks, its logs."""

# Names in configs are looked up in the registries of `motivation`, then in MMEngine's.
default_scope = 'motivation'

# The class that builds the run; a subclass of DualModelRunner of your own goes here.
runner_type = 'DualModelRunner'

# Decides every random draw: initial weights, order of the images, augmentation, dropout, random policies.
# deterministic=True also makes torch use deterministic kernels on a GPU, which are slower.
randomness = dict(seed=0)

# OpenCV would start a thread pool in every data-loading worker. cudnn_benchmark=True lets cuDNN pick the fastest
# kernels for a fixed image size, at the price of bit-identical repetition. tf32=True lets CUDA round the factors of all
# float32 products to TF32, False of none; by default those of convolutions.
env_cfg = dict(mp_cfg=dict(opencv_num_threads=0), cudnn_benchmark=False)

# Compiles both models when they first train, with arguments of torch.compile, or True for its defaults.
# compile = dict(mode='default')

# What motivation compare compares where its command line does not say; training ignores it (docs/comparing.md).
# comparison = dict(arms=['never', 'always', 'config', 'matched'], seeds=[0, 1, 2])

# Hooks by name. None removes one: default_hooks = dict(report=None). MMEngine's own (runtime_info, timer,
# sampler_seed, param_scheduler) are there as well. A run trains without any of these.
default_hooks = dict(
    # Logs every step (interval=1) to the text log, scalars.json and TensorBoard.
    logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
    # Seeds each batch from (seed, iteration), so that a resumed run draws what an uninterrupted one draws.
    iteration_seed=dict(type='IterationSeedHook'),
    # Names and counts unreadable images; refuses labels that are no class and images that are normalised twice.
    bad_data=dict(type='BadDataHook'),
    # Counts training FLOPs and times of each model; a point of its curves every 20 steps.
    compute_meter=dict(type='ComputeMeterHook', interval=20),
    # Saves after every epoch (interval=1) and keeps the two newest; every_iters and every_minutes save within one.
    checkpoint=dict(type='DualCheckpointHook', interval=1, max_keep=2),
    # Writes base.pth and motivated.pth, with model.ema also base_ema.pth and motivated_ema.pth;
    # save_best='accuracy/top1' also keeps the best of each, by its own score. formats=['timm', 'onnx'] exports them
    # in these formats as well, after the report, measured as by motivation export; int8=True adds quantised files, and
    # raw_input=True puts the normalisation into them (docs/deploying.md).
    export=dict(type='ExportHook', save_best=None, formats=[], int8=False, raw_input=False),
    # Writes predictions.csv, what each model says of each validation image, and adds single classes to the report;
    # pictures=True draws confusions, and images that only one model gets right.
    predictions=dict(type='PredictionsHook', pictures=True),
    # The header, the live line on a terminal, a line an epoch; elsewhere a line every 30 seconds.
    progress=dict(type='ProgressHook', interval=30.0),
    # The table at the end, report.json, report.md and, with picture=True, report.png.
    report=dict(type='ReportHook', picture=True),
)

# Epochs and not iterations in the log; each line shows the values of its own step (window_size=1), not a mean.
log_processor = dict(by_epoch=True, window_size=1)

# Where scalars go: JSON lines and TensorBoard, both in the work_dir.
visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])
