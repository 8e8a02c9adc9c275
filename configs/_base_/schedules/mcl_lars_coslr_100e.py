# MCL's optimiser for 4096 images a step: lr 1.0 for 256. Biases and norms are
# neither decayed nor scaled (LARS's default).
optim_wrapper = dict(
    type='AmpOptimWrapper',  # as released; on a CPU float32
    loss_scale='dynamic',
    optimizer=dict(type='LARS', variant='mcl', lr=16.0, momentum=0.9, weight_decay=1e-5, eta=0.001),
    clip_grad=dict(max_norm=500.0),
)
# Warm-up multiplied on top of the cosine: 10 epochs, the last incomplete batch
# of each left out (the released code has 3127 iterations of 4096 images).
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-4,
        by_epoch=True,
        begin=0,
        end=10,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=100,
        eta_min=1e-4,
        by_epoch=True,
        begin=0,
        end=100,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=100)
auto_scale_lr = dict(base_batch_size=4096)
