"""Work that is measured in a process of its own, and how much memory or processor time it takes there."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.projects import ROOT


def in_own_process(module: str, *arguments: object) -> Any:
    """What `python -m MODULE ARGUMENT …` prints as its last line, which is JSON.

    Raises:
        SystemExit: the process failed; with what it said.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def cpu_of(command: Sequence[str], cwd: Path, environment: Mapping[str, str] | None = None) -> tuple[float, str]:
    """(processor seconds of the command and of its children that have ended, what it printed).

    Raises:
        RuntimeError: it failed; the message is what it printed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout + done.stderr


def resident(field: str) -> float:
    """A size of this process in bytes: `VmRSS` now, `VmHWM` at its largest.

    `getrusage` would count the process that started this one, too.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024.0 for line in lines if line.startswith(field))
