"""The job's bookkeeping, with trainings that only leave their files."""

import json

from dense_ssl.quickstart.folders import prepare_work_dir
from dense_ssl.quickstart.job import Job
from dense_ssl.quickstart.job_data import JobData
from dense_ssl.quickstart.recipe import Budget

DATA = JobData(
    unlabelled='/u',
    num_unlabelled=64,
    classes=('a',),
    annotations=dict(train='/t', val='/v'),
    images=dict(train='/i', val='/i'),
)
# what mmengine records where the detector finds nothing
RECORDS = [dict(loss=3.0, time=0.4, step=2), dict(data_time=0.0, time=0.1, step=2)]


class Pretended(Job):
    """Leaves what a training leaves, without any training."""

    def command(self, name, words):
        folder = self.work_dir / name
        if name == 'pictures':
            (folder / 'matches.json').write_text('0.5')
            return
        (folder / 'config.py').write_text('')
        (folder / 'last.pth').write_text(name)
        (folder / 'last_checkpoint').write_text(str(folder / 'last.pth'))
        scalars = folder / 'run' / 'vis_data' / 'scalars.json'
        scalars.parent.mkdir(parents=True)
        scalars.write_text('\n'.join(map(json.dumps, RECORDS)))


def test_nothing_found_is_told_and_stages_are_reused(tmp_path):
    for name in ('dense_ssl', 'configs'):
        (tmp_path / 'repository' / name).mkdir(parents=True)
    work = tmp_path / 'work'
    for reused in (0, 4):
        prepare_work_dir(work)
        job = Pretended(work, tmp_path / 'repository', Budget(), say=lambda line: None)
        text = job.run({}, lambda folder: DATA)
        summary = json.loads((work / 'summary.json').read_text())
        assert summary['bbox_mAP'] == summary['segm_mAP'] == 0
        assert 'finds nothing' in summary['notes'][-1]
        assert 'finds nothing' in text and 'box AP: 0.0' in text
        assert len(summary['reused']) == reused
