"""What a network learns, in numbers, and what is to be expected of them."""

from .health import RANGES, Watch
from .statistics import (
    Spread,
    effective_rank,
    pair_ranking,
    queue_ranking,
    spread,
    target_ranking,
)

__all__ = [
    'RANGES',
    'Spread',
    'Watch',
    'effective_rank',
    'pair_ranking',
    'queue_ranking',
    'spread',
    'target_ranking',
]
