"""How good frozen features are, without fine-tuning."""

from dense_ssl.former import old_attributes

from .dense_probe import dense_probe
from .knn import knn_accuracy
from .labeled_images import LabeledImages, labeled_splits
from .probe_backbone import probe_backbone
from .probe_hook import DenseProbeHook

__all__ = [
    'DenseProbeHook',
    'LabeledImages',
    'dense_probe',
    'knn_accuracy',
    'labeled_splits',
    'probe_backbone',
]

__getattr__ = old_attributes(__name__, VOCDetectionMetric='dense_ssl.finetune.VOCDetectionMetric')
