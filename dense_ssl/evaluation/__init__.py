"""How good frozen features are, without fine-tuning."""

from dense_ssl.former import old_attributes

from .dense_probe import dense_probe
from .knn import knn_accuracy
from .labeled_images import LabeledImages

__all__ = ['LabeledImages', 'dense_probe', 'knn_accuracy']

__getattr__ = old_attributes(__name__, VOCDetectionMetric='dense_ssl.finetune.VOCDetectionMetric')
