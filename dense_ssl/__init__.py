"""Dense self-supervised pre-training for OpenMMLab: DenseCL, PixPro, MCL."""
from . import datasets, engine, models  # noqa: F401  (registers the parts)
