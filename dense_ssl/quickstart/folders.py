"""The job's folder, kept apart from everything that is the user's."""

from pathlib import Path

from .stages import StageError

__all__ = ['STAGES', 'check_inputs', 'prepare_work_dir']

STAGES = ('data', 'pretraining', 'detection', 'segmentation', 'pictures')
MARKER = '.dense-ssl-quickstart'
OUTPUTS = ('logs', 'summary.json', 'summary.md')


def check_inputs(work_dir: Path, inputs: dict[str, Path]) -> None:
    """Refuse inputs that the job would write into, or read its files with.

    Args:
        work_dir (Path): Folder of the job.
        inputs (dict): The user's files and folders by option.

    Raises:
        StageError: Names the option and the folder.
    """
    work_dir = Path(work_dir).resolve()
    for option, path in inputs.items():
        path = Path(path).resolve()
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise StageError(
                f'{option}: the path {str(path)!r} is not UTF-8, and configs '
                'are: rename it, or give a link to it'
            ) from None
        for name in (*STAGES, 'logs'):
            folder = (work_dir / name).resolve()
            if folder == path or folder in path.parents:
                raise StageError(
                    f'{option}: {path} lies in {folder}, which the quick '
                    'start empties and fills: choose another --work-dir'
                )
        if path == work_dir or path in work_dir.parents:
            raise StageError(
                f'{option}: the work folder {work_dir} lies inside {path}, so '
                'its pictures would be taken for yours: choose another '
                '--work-dir'
            )


def prepare_work_dir(work_dir: Path) -> None:
    """Make the job's folder, or see to it that it is the job's.

    A folder with other things in it may be shared as long as nothing there
    has the name of something that the job writes.

    Raises:
        StageError: If it cannot be written, or holds such a thing.
    """
    marker = Path(work_dir) / MARKER
    try:
        if not marker.is_file():
            for name in (*STAGES, *OUTPUTS):
                if (Path(work_dir) / name).exists():
                    raise StageError(
                        f'{Path(work_dir) / name} exists and was not made by '
                        'the quick start, which would overwrite it: choose '
                        'another --work-dir, or move it away'
                    )
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.write_text('made by the quick start\n')
    except OSError as error:
        raise StageError(
            f'--work-dir {work_dir} cannot be written: {error.strerror or error}'
        ) from error
