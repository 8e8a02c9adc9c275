"""How good frozen features are, without fine-tuning."""

from dense_ssl.former import former_attribute

from .knn import knn_accuracy

__all__ = ['knn_accuracy']


def __getattr__(name):
    return former_attribute(__name__, name)
