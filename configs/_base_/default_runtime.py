"""Settings of every run: hooks, logs and the seed."""

default_scope = 'motivation'  # registry in which type names are looked up first
runner_type = 'DualModelRunner'
randomness = dict(seed=0)  # initial weights, order of the data, augmentation, random policies
env_cfg = dict(mp_cfg=dict(opencv_num_threads=0))  # no OpenCV threads in data-loader workers

# In addition to MMEngine's default hooks (runtime_info, timer, sampler_seed, param_scheduler); None removes a hook.
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),  # losses of every batch to the logs
    iteration_seed=dict(type='IterationSeedHook'),  # seeds every batch, so that resuming is bit-identical
    bad_data=dict(type='BadDataHook'),  # reports skipped images, checks labels
    compute_meter=dict(type='ComputeMeterHook'),  # counts FLOPs
    checkpoint=dict(type='DualCheckpointHook', interval=1, max_keep=2),  # epoch_<n>.pth, every `interval` epochs
    export=dict(type='ExportHook'),  # base.pth and motivated.pth at the end
    progress=dict(type='ProgressHook'),  # progress in the terminal
    report=dict(type='ReportHook'),  # report.md, report.json and report.png at the end
)
log_processor = dict(by_epoch=True, window_size=1)  # logs the values of each batch, without smoothing
visualizer = dict(  # writes scalars.json and TensorBoard files
    type='Visualizer', vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
)
