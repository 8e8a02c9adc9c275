"""Pictures of a study: drawn where they can be, told where not."""

from dense_ssl.study import pictures

from .studies import Pretended, study, words


def test_what_cannot_be_drawn_is_told(scenes, tmp_path, monkeypatch):
    drawn, said = [], []

    def draw(config, checkpoint, paths):
        if config.parent.parent.name == 'mocov2-seed0':
            raise RuntimeError('out of ink')
        assert config.is_file() and checkpoint.name == 'iter_12.pth'
        drawn.extend(path.name for path in paths)
        for path in paths:
            path.touch()

    for name in ('matches', 'segmentations', 'detections'):
        monkeypatch.setattr(pictures, f'draw_{name}', draw)

    class Launcher(Pretended):
        def start(self, cell):
            (cell.folder / 'last_checkpoint').write_text('/elsewhere/iter_12.pth\n')
            return super().start(cell)

    command = words(scenes, tmp_path / 's', '--seeds', 2, '--labels', 1, 0.5)
    command += ['--methods', 'random', 'mocov2', 'densecl']
    made = study(*command, launcher=Launcher())
    made.say = said.append
    results = made.run()
    assert all(cell['state'] == 'done' for cell in results['cells'])
    names = {'matches-{}-densecl', 'segmentation-{}-random', 'segmentation-{}-densecl'}
    assert sorted(drawn) == sorted(f'{n.format(i)}-seed0.png' for n in names for i in (0, 1))
    told = [line for line in said if 'out of ink' in line]
    assert told == [
        f'no pictures of mocov2-seed0/{cell}: out of ink'
        for cell in ('pretrain', 'segmentation-1.0')
    ]
    drawn.clear()
    study(*command, launcher=Launcher()).run()
    assert drawn == []
