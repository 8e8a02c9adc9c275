"""Algorithms, projectors, heads and the small parts they share."""

import mmpretrain.models  # noqa: F401  (fills the parent registry)

from .algorithms import *  # noqa: F401,F403
from .correspondence import Correspondence, GeometricCorrespondence, SimilarityCorrespondence
from .data_preprocessor import DenseDataPreprocessor
from .feature_queue import FeatureQueue
from .heads import *  # noqa: F401,F403
from .momentum_encoder import MomentumEncoder
from .montage import MontageAssembler
from .networks import *  # noqa: F401,F403

__all__ = [
    'Correspondence',
    'DenseDataPreprocessor',
    'FeatureQueue',
    'GeometricCorrespondence',
    'MomentumEncoder',
    'MontageAssembler',
    'SimilarityCorrespondence',
]
