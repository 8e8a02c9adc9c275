"""Studies: pre-train, probe and fine-tune from several starts, and compare."""

from .arguments import compare_parser
from .command import run_study
from .study import Study

__all__ = ['Study', 'compare_parser', 'run_study']
