"""Studies: pre-train, probe and fine-tune from several starts, and compare."""

from .arguments import compare_parser
from .study import Study

__all__ = ['Study', 'compare_parser']
