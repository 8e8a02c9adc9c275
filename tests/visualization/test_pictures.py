"""What is drawn, and that it is right where there is a truth."""

import base64
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from mmengine.config import Config
from PIL import Image

from dense_ssl.errors import UserError
from dense_ssl.visualization.features import principal_colors
from dense_ssl.visualization.matches import find_matches
from dense_ssl.visualization.networks import PretrainedNetwork
from dense_ssl.visualization.queues import ages
from dense_ssl.visualization.report import write_report
from dense_ssl.visualization.views import view_pairs
from tools.analysis import visualize

from ..engine.runs import config, image_folder, train

METHODS = {
    'densecl': 'densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py',
    'pixpro': 'pixpro/pixpro_resnet50_8xb128-coslr-100e_in1k.py',
}
WHOLE = torch.tensor([0.0, 0.0, 1.0, 1.0])


def noise(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def test_matches_of_a_flipped_view_are_found():
    a = noise(32, 6, 8)
    found = find_matches(a, a.flip(2), torch.stack([WHOLE, WHOLE[[2, 1, 0, 3]]]))
    assert found.pck == 1 and found.mutual.all() and found.possible.all()
    assert found.index.reshape(6, 8)[0].tolist() == [*range(7, -1, -1)]
    assert find_matches(a, a.flip(2), torch.stack([WHOLE, WHOLE])).pck == 0.25  # the middle


def test_matches_of_a_shifted_view():
    scene = noise(32, 6, 12)
    boxes = torch.tensor([[0.0, 0, 2 / 3, 0.5], [1 / 3, 0, 1, 0.5]])  # square cells
    found = find_matches(scene[..., :8], scene[..., 4:], boxes)
    assert found.pck == 1
    assert found.possible.reshape(6, 8)[:, 4:].all()
    assert not found.possible.reshape(6, 8)[:, :3].any()
    assert not find_matches(scene[..., :4], scene[..., 8:]).mutual.all()


def test_pairs_of_the_same_view():
    match, pairs = view_pairs(torch.stack([WHOLE, WHOLE]), [(3, 3), (3, 3)], 0.5)
    assert match.index[0].tolist() == [*range(9)] and torch.equal(pairs[0], torch.eye(9) > 0)


def test_like_features_have_like_colours_and_the_middle_is_in_front():
    back, front = noise(16, seed=1), noise(16, seed=2)
    maps = []
    for seed in (3, 4):
        x = back[:, None, None] + 0.05 * noise(16, 8, 8, seed=seed)
        x[:, 3:6, 3:6] += (front - back)[:, None, None]
        maps.append(x)
    whole, fore = principal_colors(maps)
    assert all(0 <= x.min() and x.max() <= 1 and x.shape == (8, 8, 3) for x in whole + fore)
    inside = np.zeros((8, 8), bool)
    inside[3:6, 3:6] = True
    for picture in fore:
        assert (picture[~inside] == 1).all() and not (picture[inside] == 1).all()
    first = [x[..., 0] for x in whole]
    assert abs(first[0][inside].mean() - first[1][inside].mean()) < 0.1
    assert abs(first[0][inside].mean() - first[0][~inside].mean()) > 0.5


def test_ages_of_a_queue():
    assert ages(5, 3).tolist() == [2, 1, 0, -1, -1]
    assert ages(5, 7).tolist() == [1, 0, 4, 3, 2]


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """A tiny run of each method, in a folder whose name is no HTML."""
    found = {}
    images = image_folder(tmp_path_factory.mktemp('images'), 9, size=64)
    for method, name in METHODS.items():
        work_dir = tmp_path_factory.mktemp(method) / 'run <b>&'
        cfg = config(name, images, work_dir, epochs=2)
        if method == 'pixpro':
            cfg.model.projector.out_channels = cfg.model.propagation.in_channels = 8
        else:
            cfg.model.queue_len = 8
        train(cfg)
        found[method] = work_dir, next(work_dir.glob('*.py')), images
    return found


CASES = {
    'views': ('pixpro', [], ['image', 'view 1', 'pairs']),
    'matches': ('densecl', ['--size', 32], ['random weights: PCK', 'trained: PCK', 'mutual']),
    'pair': ('densecl', ['--size', 32, '--pair'], ['trained: [0-9]+ mutual']),
    'pca': ('densecl', ['--size', 32], ['random weights', 'trained', 'foreground']),
    'attention': ('pixpro', ['--size', 32], ['trained', 'weight']),
    'similarity': ('densecl', ['--size', 32, '--pixel', 0.2, 0.9], ['trained', 'cosine']),
    'queue': ('densecl', [], ['of 8 keys nearer', 'own key', 'age']),
    'curves': ('densecl', ['--names', 'all'], ['feature_rank', 'queue_age', 'iteration']),
}


@pytest.mark.parametrize('what', CASES)
def test_pictures(runs, tmp_path, monkeypatch, what):
    method, options, texts = CASES[what]
    work_dir, cfg, images = runs[method]
    out = tmp_path / 'out.png'
    what = 'matches' if what == 'pair' else what
    words = [what, work_dir] if what == 'curves' else [what, cfg]
    if what not in ('views', 'curves'):
        words.append(work_dir / 'epoch_2.pth')
    if what != 'curves':
        words += ['--images', images, '--count', 2]
    figures = []
    drawing = visualize.draw
    monkeypatch.setattr(visualize, 'draw', lambda a: figures.append(drawing(a)) or figures[0])
    monkeypatch.setattr(
        sys, 'argv', [str(w) for w in ['visualize', *words, '--out', out, *options]]
    )
    visualize.main()
    pixels = np.asarray(Image.open(out).convert('RGB'))
    assert min(pixels.shape[:2]) > 150 and pixels.std() > 10
    said = '\n'.join(text.get_text() for text in figures[0].findobj(Text))
    for text in texts:
        assert re.search(text, said), said


def test_what_cannot_be_drawn_is_explained(runs, tmp_path, monkeypatch, capsys):
    work_dir, cfg, images = runs['densecl']
    for what, message in (('attention', 'DenseCL propagates nothing'), ('queue', 'no queue')):
        checkpoint = work_dir / 'epoch_2.pth' if what == 'attention' else 'random'
        words = [what, cfg, checkpoint, '--images', images, '--out', tmp_path / 'x.png']
        monkeypatch.setattr(sys, 'argv', ['visualize', *map(str, words)])
        with pytest.raises(SystemExit):
            visualize.main()
        assert message in capsys.readouterr().err
    with pytest.raises(UserError, match='projector'):
        other = Config.fromfile(runs['pixpro'][1])
        PretrainedNetwork(other, work_dir / 'epoch_2.pth')


@pytest.fixture(scope='module')
def page(runs, tmp_path_factory):
    work_dir = runs['pixpro'][0]
    log = next(work_dir.glob('*/*.log'))
    with log.open('a') as file:
        file.write('11/25 - mmengine - WARNING - iteration 2: <script>alert(1)</script> ')
        file.write('(see docs/diagnostics.md)\n')
    out = tmp_path_factory.mktemp('page') / 'report.html'
    write_report(work_dir, out, count=2)
    return out


def test_page(page):
    text = page.read_text()
    assert 'run &lt;b&gt;&amp;' in text and '<script' not in text
    assert 'iteration 2: &lt;script&gt;alert(1)' in text
    assert 'PixelPropagation' in text and 'mmengine' in text
    sources = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert len(sources) == 5 and all(source.startswith('data:') for source in sources)
    svg = base64.b64decode(sources[1].partition(',')[2]).decode()
    assert 'feature_rank' in svg and 'positive_pairs' in svg


BROWSER = shutil.which('chromium') or shutil.which('chromium-browser')


@pytest.mark.skipif(BROWSER is None, reason='needs chromium')
def test_page_in_a_browser(page, tmp_path):
    shot = tmp_path / 'shot.png'
    done = subprocess.run(
        [BROWSER, '--headless', '--no-sandbox', '--disable-gpu', '--enable-logging=stderr',
         '--window-size=1000,1600', f'--user-data-dir={tmp_path}', f'--screenshot={shot}',
         page.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert 'CONSOLE' not in done.stderr, done.stderr
    assert np.asarray(Image.open(shot).convert('RGB')).std() > 10
