"""What every run has: where it logs, saves and reports, and its seed."""

default_scope = 'motivation'
runner_type = 'DualModelRunner'
randomness = dict(seed=0)
env_cfg = dict(mp_cfg=dict(opencv_num_threads=0))

# Added to MMEngine's own (runtime_info, timer, sampler_seed, param_scheduler); None removes one.
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
    iteration_seed=dict(type='IterationSeedHook'),
    bad_data=dict(type='BadDataHook'),
    compute_meter=dict(type='ComputeMeterHook'),
    checkpoint=dict(type='DualCheckpointHook', interval=1, max_keep=2),
    export=dict(type='ExportHook'),
    progress=dict(type='ProgressHook'),
    report=dict(type='ReportHook'),
)
log_processor = dict(by_epoch=True, window_size=1)
visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])
