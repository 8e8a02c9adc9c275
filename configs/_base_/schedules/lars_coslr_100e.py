# PixPro's optimiser: lr 1.0 for every 256 images of a step, here 1024.
optim_wrapper = dict(
    type='AmpOptimWrapper',  # as released; on a CPU float32
    loss_scale='dynamic',
    optimizer=dict(type='LARS', variant='pixpro', lr=4.0, momentum=0.9, weight_decay=1e-5),
    # No decay of biases and norms; LARS does not scale them either.
    paramwise_cfg=dict(flat_decay_mult=0.0),
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.01,
        by_epoch=True,
        begin=0,
        end=5,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=95,
        eta_min=1e-6,
        by_epoch=True,
        begin=5,
        end=100,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=100)
auto_scale_lr = dict(base_batch_size=1024)
