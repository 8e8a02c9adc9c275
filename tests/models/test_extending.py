"""The README's example of an own correspondence, as it stands there."""

import re
from pathlib import Path

import torch

from dense_ssl.models.correspondence import Correspondence, ViewMap

from .tiny import densecl

README = Path(__file__).resolve().parents[2] / 'README.md'


def test_own_correspondence_of_the_readme():
    section = README.read_text().split('## Extending')[1]
    code = re.search(r'```python\n(.*?)```', section, re.S)[1]
    assert len(code.splitlines()) <= 30
    exec(compile(code, 'README.md', 'exec'), {})
    model = densecl(correspondence=dict(type='NormCorrespondence'))
    losses = model.loss([torch.randn(2, 3, 16, 16) for _ in range(2)], None)
    assert 0 < losses['matched'] <= 1
    assert losses['loss_dense'].isfinite()


def test_a_correspondence_without_a_limit_pairs_the_closest():

    class First(Correspondence):
        def closeness(self, a, b):
            return torch.tensor([[[0.3, 0.1, 0.2]] * 2])

    empty = ViewMap(torch.zeros(1, 1, 1, 1))
    assert First().pairs(empty, empty).tolist() == [[[True, False, False]] * 2]
