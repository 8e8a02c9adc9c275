# One machine, 1 000 to 100 000 images; --iters for another length.
_base_ = [
    '../_base_/models/mcl_r50.py',
    '../_base_/datasets/folder_mcl.py',
    # LARS moves a layer by a thousandth of its norm in a step, too little for a short run.
    '../_base_/schedules/small_sgd_20k.py',
    '../_base_/small_runtime.py',
]
