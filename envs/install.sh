#!/usr/bin/env bash
# Make or refresh the virtual environment: envs/install.sh PYTHON DIRECTORY (absolute)
# May be interrupted at any point and run again: what is installed stays, what is missing is added.
set -euo pipefail
python=$1 venv=$2
# An environment must not be made anew by its own Python.
PATH=${PATH#"$venv/bin:"}

command -v "$python" >/dev/null || {
    echo "error: '$python' is not found. Install Python 3.11, 3.12 or 3.13, or name one: make PYTHON=/path/to/python3.11" >&2
    exit 1
}
"$python" - <<'CHECK'
import sys

found = f"{sys.version_info.major}.{sys.version_info.minor}"
if not (3, 11) <= sys.version_info[:2] < (3, 14):
    sys.exit(
        f"error: {sys.executable} is Python {found}; 3.11, 3.12 or 3.13 is needed. "
        "Name another: make PYTHON=python3.11"
    )
try:
    import ensurepip
    import venv
except ImportError:
    sys.exit(
        f"error: {sys.executable} cannot make virtual environments (no ensurepip). "
        f"On Debian or Ubuntu: apt-get install python{found}-venv"
    )
CHECK

if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    echo "== Making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
packages=$(grep -cE '^[A-Za-z0-9]' envs/lock.txt)
echo "== Installing the $packages pinned packages of envs/lock.txt into $venv (the first time: some minutes, about 2 GB)"
"$venv/bin/python" -m pip install --no-compile --progress-bar off -r envs/lock.txt | while IFS= read -r line; do
    case $line in
        *Downloading\ * | *Using\ cached\ * | Installing\ * | Successfully\ *) printf '   %.110s\n' "${line#"${line%%[! ]*}"}" ;;
    esac
done
echo "== Installing this project into $venv, editable"
"$venv/bin/python" -m pip install --quiet --no-deps --editable .
