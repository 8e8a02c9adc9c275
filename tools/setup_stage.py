"""Run a stage of `make setup` into a log: setup_stage.py NAME WORDS COMMAND..."""

import re
import subprocess
import sys
import time
from pathlib import Path

name, words, *command = sys.argv[1:]
log, start = Path(f'.venv/setup/{name}.log'), time.monotonic()
print(f'[setup] {name}: {words}', flush=True)
with log.open('w') as out:
    process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
while process.returncode is None:
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:  # show that it is alive
        steps = re.findall(r'^\s*\[(\d+/\d+)\]', log.read_text(errors='replace'), re.MULTILINE)
        files = f', {steps[-1]} files compiled' if steps else ''
        print(f'[setup] {name}: {time.monotonic() - start:.0f} s{files}', flush=True)
    except KeyboardInterrupt:
        process.wait()
        sys.exit(f'\n[setup] {name} was stopped; run this again to go on from here')
if process.returncode:
    end = '\n'.join(log.read_text(errors='replace').splitlines()[-25:])
    sys.exit(f'{end}\n[setup] {name} failed, see {log}; run this again to go on from here')
print(f'[setup] {name}: done in {time.monotonic() - start:.0f} s', flush=True)
