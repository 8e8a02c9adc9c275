default_scope = 'dense_ssl'
custom_imports = dict(imports=['dense_ssl'], allow_failed_imports=False)

default_hooks = dict(
    runtime_info=dict(type='DeferredInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=10, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)

# Beside these the runner adds what pre-training cannot do without: FitCheckHook
# (batch, data, queues), MomentumUpdateHook, and ExactResumeHook where a list of
# one's own leaves it out.
custom_hooks = [
    dict(type='DataWaitHook'),
    dict(type='DiagnosticsHook', interval=50),  # docs/diagnostics.md
    dict(type='ExactResumeHook'),
]
runner_type = 'dense_ssl.DenseRunner'

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)

# Every process its own random numbers; weights are broadcast from the first.
randomness = dict(seed=None, diff_rank_seed=True, deterministic=False)

vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='UniversalVisualizer', vis_backends=vis_backends)
log_level = 'INFO'
load_from = None
resume = False
