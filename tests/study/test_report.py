import base64
import csv
import itertools
import math
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from dense_ssl.study.report import contents, write_report
from dense_ssl.study.report.words import start_names
from dense_ssl.study.statistics import Difference, Setting, compare
from dense_ssl.tables import as_csv, as_markdown

from .example import make_results

#: One setting: enough where figures do not matter.
SMALL = dict(tasks=['segmentation'], labels=[0.25])

#: Elements without an end.
VOID = {'meta', 'img', 'br', 'hr', 'link', 'input'}


class Page(HTMLParser):
    """Checks that every element is closed, in order, and keeps what matters."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {'style', 'script'} & {*self.open}:
            self.text.append(data)


def report(results, folder):
    """The page and the Markdown, both checked for what must never be in them."""
    write_report(results, folder)
    html = (folder / 'report.html').read_text()
    markdown = (folder / 'report.md').read_text()
    page = Page(html)
    assert not {'script', 'link', 'iframe', 'object', 'base'} & {*page.tags}
    without_pictures = re.sub(r'data:image/png;base64,[\w+/=]*', '', html)
    assert not re.search(r'//|url\((?!#)|@import', without_pictures)
    for text in (without_pictures, markdown):
        assert not re.search(r'\b(nan|NaN|inf|None|undefined)\b', text)
    names = [value for key, value in page.attributes if key == 'id']
    assert len(names) == len({*names})
    used = re.findall(r'(?:href="|url\()#([^")]*)', html)
    assert {*used} <= {*names}
    assert html.count('</svg>') == html.count('<figcaption>') - len(
        list(folder.glob('pictures/*.png'))
    )
    return page, markdown


def test_a_finished_study(tmp_path):
    page, markdown = report(make_results(), tmp_path)
    text = ''.join(page.text)
    headline = markdown.splitlines()[0]
    assert re.fullmatch(
        r'# DenseCL \+\d\.\d ± \d\.\d, PixPro .* mIoU over random weights '
        r'\(segmentation, 25 % of the labels\)\.',
        headline,
    )
    assert headline[2:] in text
    for said in (
        'detection, all labels: box AP',
        '25 comparisons with an interval',
        "Holm's correction",
        'python tools/study.py --images my/images',
        'The images were drawn.',
        'pretrain_iters',
        '2.11.0',
    ):
        assert said in text and said in markdown
    assert 'Missing' not in text and 'Unfinished' not in text
    assert page.tags.count('svg') == 3 + 2 + 1 + 2
    assert ('href', './cells/densecl-seed0/segmentation-0.25/config.py') in page.attributes


def test_the_numbers_of_the_table_are_those_of_the_statistics(tmp_path):
    results = make_results(**SMALL)
    (setting,) = compare(results)
    _, markdown = report(results, tmp_path)
    row = next(line for line in markdown.splitlines() if line.startswith('|  | DenseCL'))
    spread, found = setting.spread('densecl'), setting.against['random']['densecl']
    low, high = found.mean - found.half, found.mean + found.half
    assert f'| 3 | {spread.mean:.2f} ± {spread.sd:.2f} |' in row
    assert f'| {found.mean:+.2f} [{low:+.2f}, {high:+.2f}] | yes' in row.replace('−', '-')
    assert row.endswith('| best |')


def test_the_csv_has_a_line_for_each_score(tmp_path):
    results = make_results(tasks=['probe'])
    write_report(results, tmp_path)
    rows = list(csv.DictReader((tmp_path / 'results.csv').open(newline='')))
    scored = [cell for cell in results['cells'] if cell['task']]
    assert len(rows) == 2 * len(scored)
    assert rows[0]['metric'] == 'probe_mIoU' and rows[0]['labels'] == ''
    assert float(rows[0]['score']) == scored[0]['metrics']['probe_mIoU']


@pytest.mark.parametrize(
    'changed',
    [
        dict(methods=['densecl', 'pixpro']),
        dict(methods=['mocov2', 'densecl']),
        dict(methods=['densecl']),
        dict(methods=['random']),
        dict(methods=[]),
        dict(seeds=[0]),
        dict(seeds=[0], methods=['densecl', 'pixpro'], labels=[1.0]),
        dict(tasks=[]),
        dict(tasks=['probe']),
        dict(tasks=['detection'], labels=[0.1]),
        dict(labels=[1.0, 0.5, 0.1, 0.01], tasks=['segmentation']),
        dict(methods=['random', *(f'densecl:v{n}' for n in range(7)), 'a/b.pth'], seeds=[0, 1]),
        *(dict(states=[state]) for state in ('to do', 'failed', 'blocked', 'running')),
        *(
            dict(states=['done', *states, 'done', 'to do'][:n], seeds=range(n % 2 + 1))
            for states, n in zip(
                itertools.permutations(['failed', 'blocked', 'running'], 2), range(2, 8)
            )
        ),
    ],
    ids=str,
)
def test_every_sort_of_study(changed, tmp_path):
    results = make_results(**{'tasks': ['probe', 'segmentation'], **changed})
    page, markdown = report(results, tmp_path)
    states = [cell['state'] for cell in results['cells']]
    assert ('Unfinished: ' in markdown) == (
        {*states} > {'done'} or {*states} not in ({'done'}, set())
    )
    for cell in results['cells']:
        if cell['state'] in ('failed', 'blocked'):
            assert f'{cell["id"]}: {cell["state"]}' in markdown
        elif cell['state'] != 'done':
            assert f'{cell["id"]} ({cell["state"]})' in ''.join(page.text)


def test_the_gain_is_drawn_over_what_most_settings_have(tmp_path):
    """Random weights were not yet trained with all labels."""
    results = make_results(tasks=['segmentation'], labels=[1.0, 0.5, 0.1], seeds=[0, 1])
    for cell in results['cells']:
        if cell['start'] == 'random' and cell['labels'] != 0.1:
            cell.update(state='to do', metrics={})
    page, _ = report(results, tmp_path)
    assert 'segmentation: gain over MoCo v2 by share of labels' in ''.join(page.text)


def test_one_seed_has_no_interval_and_says_so(tmp_path):
    page, markdown = report(make_results(seeds=[3], **SMALL), tmp_path)
    assert 'one seed: no interval' in markdown.splitlines()[0]
    assert 'With one seed nothing tells a difference from chance' in markdown
    assert '±' not in markdown.replace('mean ± s', '') and '| yes' not in markdown


def test_no_pretrained_start_is_said_to_be_good_by_chance(tmp_path):
    results = make_results(**SMALL)
    for cell in results['cells']:
        if cell['task']:
            cell['metrics'] = {'mIoU': 20 + (cell['seed'] * len(cell['start'])) % 5}
    _, markdown = report(results, tmp_path)
    assert markdown.startswith(
        '# No clear difference in mIoU to random weights (segmentation, 25 % of the labels): '
        'MoCo v2, DenseCL and PixPro.\n'
    )


@pytest.mark.parametrize(
    'differences, said',
    [
        (
            {'densecl': [4, 4.5, 3.9], 'pixpro': [1, -2, 1]},
            'DenseCL +4.1 ± 0.8 mIoU over random weights (segmentation, 25 % of the labels); '
            'PixPro: no clear difference.',
        ),
        (
            {'densecl': [-4, -4.5, -3.9]},
            'DenseCL −4.1 ± 0.8 mIoU against random weights (segmentation, 25 % of the labels).',
        ),
        (
            {'densecl': [0.2, 0.21, 0.22], 'pixpro': [5]},
            'PixPro +5.0, DenseCL +0.21 ± 0.02 mIoU over random weights '
            '(segmentation, 25 % of the labels; one seed: no interval).',
        ),
    ],
)
def test_sentences(differences, said):
    found = {
        start: Difference.of(dict(enumerate(values)), dict.fromkeys(range(9), 0))
        for start, values in differences.items()
    }
    setting = Setting('segmentation', 0.25, 'mIoU', {}, {'random': found})
    assert contents.sentence(setting, start_names(['random', *differences])) == said


def test_the_first_sentence_is_not_chosen_by_its_result():
    """Rows that are better or worse for us change nothing."""
    found = compare(make_results())
    chosen = contents.main_setting(found)
    assert (chosen.task, chosen.labels) == ('segmentation', 0.25)
    for setting in found:
        setting.against = {'random': {'densecl': Difference({}, -9.0)}}
    assert contents.main_setting(found) is chosen


def test_names_of_starts():
    starts = ['mocov2', 'densecl:low_lr', 'new', 'runs/a/x.pth', 'y.pth', 'p/z.pth', 'q/z.pth']
    assert [*start_names(starts).values()] == [
        'MoCo v2',
        'DenseCL, low_lr',
        'new',
        'x',
        'y',
        'p/z.pth',
        'q/z.pth',
    ]


EVIL = '<script>alert("x")<\\/script>&|$\\alpha$\'"`**'


def test_what_comes_from_files_is_only_text(tmp_path):
    results = make_results(
        methods=['random', EVIL], seeds=[0, 1], states=['done', 'done', 'failed']
    )
    study = results['study']
    study.update(command=EVIL, notes=[EVIL], versions={EVIL: EVIL}, budget={'name': EVIL})
    for cell in results['cells']:
        if cell['error']:
            cell['error'] += EVIL
        cell['config'] = f'javascript:{EVIL}'
    (tmp_path / 'pictures').mkdir()
    Image.new('RGB', (2, 2)).save(tmp_path / 'pictures' / '<img onerror="x">&.png')
    page, markdown = report(results, tmp_path)
    assert ''.join(page.text).count(EVIL) > 9
    assert '<script' not in markdown.replace(f'    {study["command"]}', '').replace(
        f'at the end{EVIL}', ''
    )
    links = [value for key, value in page.attributes if key == 'href' and value[0] != '#']
    assert links and all(link.startswith('./javascript%3A') for link in links)
    assert not [key for key, _ in page.attributes if key.startswith('on')]


def test_scores_that_are_no_numbers_are_missing(tmp_path):
    results = make_results(**SMALL)
    bad = next(cell for cell in results['cells'] if cell['task'] == 'segmentation')
    bad['metrics'] = {'mIoU': math.nan, 'aAcc': math.inf}
    bad['curve'] = [{'step': k, 'loss': math.nan} for k in range(9)]
    _, markdown = report(results, tmp_path)
    assert f'{bad["id"]}: done, but without a score' in markdown
    assert 'nan' not in (tmp_path / 'results.csv').read_text()


def test_only_the_end_of_a_long_error_is_shown(tmp_path):
    results = make_results(states=['failed'], methods=['densecl'], seeds=[0], tasks=[])
    results['cells'][0]['error'] = '\n'.join(f'line {n}' for n in range(100))
    page, _ = report(results, tmp_path)
    text = ''.join(page.text)
    assert 'line 99' in text and 'line 88' in text and 'line 87' not in text


def test_pictures_are_embedded(tmp_path):
    (tmp_path / 'pictures').mkdir()
    path = tmp_path / 'pictures' / 'densecl-seed0_matches.png'
    Image.new('RGB', (3, 2), 'red').save(path)
    page, markdown = report(make_results(seeds=[0], **SMALL), tmp_path)
    # Not a picture, whatever it is called.
    path.with_name('other.png').write_text('<script>')
    write_report(make_results(seeds=[0], **SMALL), tmp_path)
    assert 'other' not in (tmp_path / 'report.html').read_text()
    data = base64.b64encode(path.read_bytes()).decode()
    assert ('src', f'data:image/png;base64,{data}') in page.attributes
    assert ('alt', 'densecl seed0 matches') in page.attributes
    assert '![densecl seed0 matches](<pictures/densecl-seed0_matches.png>)' in markdown


def test_the_same_results_give_the_same_files(tmp_path):
    for name in 'ab':
        write_report(make_results(labels=[0.25], seeds=[0, 1]), tmp_path / name)
    for name in ('report.html', 'report.md', 'results.csv'):
        assert (tmp_path / 'a' / name).read_bytes() == (tmp_path / 'b' / name).read_bytes()


def test_costs_are_of_what_was_done():
    results = make_results(methods=['random', 'densecl'], seeds=[0, 1], tasks=['probe'])
    table = contents.cost_table(results, start_names(['random', 'densecl']))
    assert table.rows == [
        ['random weights', '0', '', '0.0', '3.0'],
        ['DenseCL', '2', '1,280', '3.0', '3.0'],
        ['all', '', '', '3.0', '6.0'],
    ]


def test_tables_keep_to_their_cells():
    rows = [['a|b', None], ['<i>\nc', 1.5]]
    assert as_markdown(['x', 'y'], rows).splitlines() == [
        '| x | y |',
        '| --- | --- |',
        '| a\\|b |  |',
        '| &lt;i> c | 1.5 |',
    ]
    assert [*csv.reader(as_csv(['x', 'y'], rows).splitlines(keepends=True))] == [
        ['x', 'y'],
        ['a|b', ''],
        ['<i>\nc', '1.5'],
    ]
