"""The user's data: refused with a reason, or turned into the right files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from dense_ssl.finetune.data.coco import read_annotations
from dense_ssl.finetune.data.label_maps import parse_classes
from dense_ssl.quickstart.job_data import JobData, user_data
from dense_ssl.quickstart.recipe import Budget, segmentation_options
from dense_ssl.quickstart.user_data import (
    CocoData,
    InputError,
    check_images,
    read_coco,
    semantic_map,
    split_coco,
    subset,
)
from dense_ssl.scenes import render_scene

REPOSITORY = Path(__file__).resolve().parents[2]


def square(x, y, side):
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


def make_coco(folder, count=10, masks=True):
    """Grey images with two squares each, in sub-folders."""
    (folder / 'img' / 'sub').mkdir(parents=True)
    images, annotations = [], []
    for i in range(count):
        name = f'sub/{i}.jpg' if i % 2 else f'{i}.png'
        image = render_scene([9, i], 64).image[:48]
        cv2.imwrite(str(folder / 'img' / name), image)
        images.append(dict(id=100 + i, file_name=name, width=64, height=48))
        for k in range(2):
            annotations.append(
                dict(
                    id=2 * i + k + 1,
                    image_id=100 + i,
                    category_id=(3, 8)[k],
                    bbox=[5 + 20 * k, 5, 16, 16],
                    area=256,
                    iscrowd=0,
                    segmentation=square(5 + 20 * k, 5, 16) if masks else [],
                )
            )
    data = dict(
        images=images,
        annotations=annotations,
        categories=[dict(id=8, name='right one'), dict(id=3, name='left')],
    )
    path = folder / 'ann.json'
    path.write_text(json.dumps(data))
    return path, folder / 'img', data


def test_missing_folders_and_files(tmp_path):
    path, images, _ = make_coco(tmp_path)
    with pytest.raises(InputError, match='--images: .*does not exist'):
        check_images(tmp_path / 'none', 8)
    with pytest.raises(InputError, match='10 images, .* needs 11'):
        check_images(images, 11)
    assert len(check_images(images, 10)) == 10
    with pytest.raises(InputError, match='--coco: there is no file'):
        read_coco(tmp_path / 'none.json', images)
    with pytest.raises(InputError, match='--coco-images: there is no folder'):
        read_coco(path, tmp_path / 'none')


def test_absent_images_are_named(tmp_path):
    path, images, data = make_coco(tmp_path)
    for i in (2, 3, 4):
        (images / data['images'][i]['file_name']).unlink()
    with pytest.raises(InputError, match=r'3 of 10 images.*Absent: 2.png, 4.png, sub/3'):
        read_coco(path, images)


@pytest.mark.parametrize(
    'spoil',
    [
        lambda d: d.pop('annotations'),
        lambda d: d['annotations'][0].update(image_id=-1),
        lambda d: d['annotations'][0].update(category_id=77),
        lambda d: d['annotations'][0].update(bbox=[1, 2, 3]),
        lambda d: d['images'][0].pop('file_name'),
    ],
)
def test_contradictions_are_refused(tmp_path, spoil):
    path, images, data = make_coco(tmp_path, 4)
    spoil(data)
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match='--coco: .*ann.json'):
        read_coco(path, images)
    path.write_text('{')
    with pytest.raises(InputError, match='not JSON'):
        read_coco(path, images)


@pytest.mark.parametrize(
    'names,reason',
    [
        (('a', ' a '), "8 have the same name 'a'|8 and 3 have the same name"),
        (('a', '  '), 'empty name'),
        (('5', 5), 'same name'),
        (('a', ['b']), 'a text is needed'),
    ],
)
def test_useless_class_names_are_refused_first(tmp_path, names, reason):
    path, images, data = make_coco(tmp_path, 4)
    for category, name in zip(data['categories'], names):
        category['name'] = name
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=f'ann.json.*({reason})'):
        read_coco(path, images)


def test_class_names_pass_every_tool(tmp_path):
    path, images, data = make_coco(tmp_path)
    data['categories'] = [
        dict(id=3, name=' background'),
        dict(id=8, name=7),
        dict(id=9, name='a, b'),
        dict(id=10, name='a; b'),
    ]
    path.write_text(json.dumps(data))
    data = user_data(tmp_path / 'out', images, path, images, 99, 99, 99)
    assert data.classes == ('background', '7', 'a, b', 'a; b')
    words = segmentation_options(data, Budget())
    taken = parse_classes(words[words.index('--seg-classes') + 1])
    assert (
        taken == data.semantic_classes == ('background', 'background (2)', '7', 'a; b', 'a; b (2)')
    )
    written = read_annotations(data.annotations['train'], str(images))[0]
    assert tuple(c['name'] for c in written['categories']) == data.classes


def test_faulty_masks_are_refused_first(tmp_path):
    path, images, data = make_coco(tmp_path)
    data['annotations'][4]['segmentation'] = [[1, 2, 3, 4]]
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match='ann.json.*annotation 5 .*4 numbers'):
        read_coco(path, images)


def test_names_that_are_no_text(tmp_path):
    path, images, data = make_coco(tmp_path)
    for image in data['images']:
        new = os.fsdecode(b'caf\xe9 %d.png' % image['id'])
        os.rename(images / image['file_name'], images / new)
        image['file_name'] = new
    path.write_text(json.dumps(data))
    out = tmp_path / 'out'
    out.mkdir()
    data = user_data(out, images, path, images, 8, 99, 99)
    from dense_ssl.datasets import UnlabeledImages

    dataset = UnlabeledImages(
        data_root=data.unlabelled,
        ann_file=data.unlabelled_list,
        pipeline=[dict(type='LoadRGBImage')],
    )
    assert len(dataset) == 8
    assert dataset[7]['img'].shape[:2] == (48, 64)
    assert JobData.from_json(json.loads(json.dumps(data.to_json()))) == data


def test_line_break_in_a_listed_name(tmp_path):
    path, images, data = make_coco(tmp_path)
    for i in range(0, 10, 2):
        os.rename(images / f'{i}.png', images / f'{i}\n.png')
        data['images'][i]['file_name'] = f'{i}\n.png'
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match='line break'):
        user_data(tmp_path, images, path, images, 8, 99, 99)


def test_split_is_fixed_disjoint_and_complete(tmp_path):
    path, images, data = make_coco(tmp_path)
    train, val = split_coco(read_coco(path, images))
    assert (len(train), len(val)) == (8, 2)
    ids = [i['id'] for i in train + val]
    assert sorted(ids) == [i['id'] for i in data['images']]
    data['images'] = data['images'][::-1]
    path.write_text(json.dumps(data))
    assert split_coco(read_coco(path, images)) == (train, val)
    with pytest.raises(InputError, match='1 images with objects'):
        split_coco(CocoData(path, dict(data, annotations=data['annotations'][:2])))


def test_subset():
    items = list(range(50))
    assert subset(items, None) == subset(items, 50) == items
    few = subset(items, 7)
    assert len(set(few)) == 7 and few == sorted(few) == subset(items, 7)


def test_semantic_map_orders_objects_and_ignores_crowds():
    categories = [dict(id=3), dict(id=8)]
    crowd = dict(size=[10, 10], counts=[90, 10])  # the last column
    annotations = [
        dict(category_id=8, segmentation=square(2, 2, 2)),
        dict(category_id=3, segmentation=square(0, 0, 6)),
        dict(category_id=3, segmentation=crowd, iscrowd=1),
    ]
    labels = semantic_map(dict(height=10, width=10), annotations, categories)
    expected = np.zeros((10, 10), np.uint8)
    expected[:6, :6] = 1
    expected[2:4, 2:4] = 2
    expected[:, 9] = 255
    assert np.array_equal(labels, expected)


def test_user_data_is_written(tmp_path):
    path, images, _ = make_coco(tmp_path)
    out = tmp_path / 'out'
    out.mkdir()
    data = user_data(out, images, path, images, 8, 5, None)
    assert data.classes == ('left', 'right one') and data.has_masks
    assert data.semantic_classes == ('background', 'left', 'right one')
    listed = Path(data.unlabelled_list).read_text().split()
    assert len(listed) == data.num_unlabelled == 8
    assert all(Path(p).is_file() for p in listed)
    counts = {}
    for split in ('train', 'val'):
        coco = read_coco(data.annotations[split], data.images[split])
        counts[split] = len(coco.images)
        for i, image in enumerate(coco.images):
            labels = cv2.imread(
                f'{data.semantic}/ann_dir/{split}/{i:06d}.png', cv2.IMREAD_UNCHANGED
            )
            assert labels.shape == (48, 64)
            assert (labels[6:20, 6:20] == 1).all()
            assert (labels[6:20, 26:40] == 2).all()
            assert np.count_nonzero(labels) == pytest.approx(512, rel=0.15)
            pixels = cv2.imread(f'{data.semantic}/img_dir/{split}/{i:06d}.jpg')
            source = cv2.imread(str(images / image['file_name']))
            assert np.abs(pixels.astype(int) - source).mean() < 15
    assert counts == dict(train=5, val=2)
    assert JobData.from_json(json.loads(json.dumps(data.to_json()))) == data


def test_boxes_alone_leave_segmentation_out(tmp_path):
    path, images, content = make_coco(tmp_path, masks=False)
    content['annotations'][0]['segmentation'] = square(5, 5, 16)
    path.write_text(json.dumps(content))
    data = user_data(tmp_path / 'out', images, path, images, 99, 99, 99)
    assert not data.has_masks and not data.semantic
    assert any('19 of 20 objects have no mask' in n for n in data.notes)
    written = json.loads(Path(data.annotations['train']).read_text())
    assert not any(a['segmentation'] for a in written['annotations'])


def test_wrong_size_in_the_annotations_is_named(tmp_path):
    path, images, content = make_coco(tmp_path)
    for image in content['images']:
        image['width'] = 63
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match='64x48 pixels, .*says 63x48'):
        user_data(tmp_path / 'out', images, path, images, 99, 99, 99)


def quickstart(*words, timeout=900):
    return subprocess.run(
        [sys.executable, 'tools/quickstart.py', *map(str, words)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, 'CUDA_VISIBLE_DEVICES': ''},
    )


def test_command_line_refuses_half_of_the_data(tmp_path):
    run = quickstart('--images', tmp_path)
    assert run.returncode == 2 and 'all of --images' in run.stderr


def test_command_line_refuses_the_users_folders(tmp_path):
    (tmp_path / 'work').mkdir()
    _, images, _ = make_coco(tmp_path / 'work' / 'data')
    coco = images.parent / 'ann.json'
    own = '--images', images, '--coco', coco, '--coco-images', images
    run = quickstart('--smoke', '--work-dir', tmp_path / 'work', *own)
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith('error: --images: ')
    assert 'work/data, which' in run.stderr and coco.is_file()
    # the same folder on the way of the scenes
    run = quickstart('--smoke', '--work-dir', tmp_path / 'work')
    assert run.returncode == 1 and coco.is_file()
    assert 'work/data exists and was not made by' in run.stderr
    assert 'Traceback' not in run.stderr


@pytest.mark.slow
def test_smoke_run_on_scenes_then_reused(tmp_path):
    work = tmp_path / 'work'
    run = quickstart('--smoke', '--work-dir', work)
    assert run.returncode == 0, run.stdout + run.stderr
    summary = json.loads((work / 'summary.json').read_text())
    assert Path(summary['checkpoint']).is_file()
    for name in ('bbox_mAP', 'segm_mAP', 'mIoU', 'right_matches'):
        assert summary[name] >= 0
    kinds = {p.name.split('_')[0] for p in Path(summary['pictures']).glob('*_*')}
    assert kinds == {'correspondence', 'detection', 'segmentation'}
    assert summary['reused'] == []
    assert '[detection] iter' in run.stdout and 'box AP' in run.stdout
    again = quickstart('--smoke', '--work-dir', work)
    assert again.returncode == 0, again.stdout + again.stderr
    assert len(json.loads((work / 'summary.json').read_text())['reused']) == 5


@pytest.mark.slow
def test_smoke_run_on_boxes_alone(tmp_path):
    path, images, _ = make_coco(tmp_path / 'my images, [1]', masks=False)
    work = tmp_path / 'my work'
    run = quickstart(
        '--smoke', '--work-dir', work, '--images', images, '--coco', path, '--coco-images', images
    )
    assert run.returncode == 0, run.stdout + run.stderr
    summary = json.loads((work / 'summary.json').read_text())
    assert 'bbox_mAP' in summary and 'segm_mAP' not in summary
    assert '[segmentation] left out' in run.stdout
