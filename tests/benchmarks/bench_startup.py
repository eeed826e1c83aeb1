"""Processor time until the work of a job begins, by kind of job, beside that of its libraries alone.

Both sides are processes of their own. Ours does what a job's process does before its work:
Snakemake's part of it, the script's imports, and the libraries that the job loads; of a job with models, those that the
first model loads are among them on both sides. `slowest` are the modules whose own code takes longest to import, by
their share of all.
"""

import sys
from collections import Counter
from dataclasses import dataclass

from tests.benchmarks.comparing import Comparison
from tests.benchmarks.processes import cpu_of
from tests.projects import ROOT

_SLOWEST = 10


@dataclass(frozen=True)
class _Kind:
    """One kind of job: its script, what the script has loaded when work begins, and the libraries without us."""

    case: str
    script: str
    body: str
    bare: str


_MODEL = "job.do_without('pandas', *NO_MODEL_NEEDS)\n"
_KINDS = (
    _Kind("a figure", "plot", "job.load('pandas', 'matplotlib.figure', 'modecollapse.jobs.figures')",
          "import numpy, pyarrow.parquet, pandas, matplotlib.figure"),
    _Kind("tables", "tabulate", "job.load('modecollapse.jobs.tables')",
          "import numpy, pyarrow.parquet, pandas, scipy.stats, scipy.special"),
    _Kind("scores", "score", "job.do_without('pandas'); job.load('modecollapse.measures.diversity')",
          "import numpy, pyarrow.parquet, pydantic"),
    _Kind("sentence vectors", "embed", _MODEL + "job.load('torch', 'transformers:AutoModel',"
          " 'transformers.modeling_utils')", "import torch, transformers.modeling_utils"),
    _Kind("generation", "generate", _MODEL + "job.load('modecollapse.generation.transformers_engine',"
          " 'transformers:AutoModelForCausalLM', 'transformers.modeling_utils')",
          "import torch, transformers.modeling_utils"),
    _Kind("fine-tuning", "train", "from modecollapse.methods import METHODS\n"
          "job.do_without('bitsandbytes', *NO_MODEL_NEEDS)\njob.load(*METHODS['sft'].libraries)",
          "from trl import SFTTrainer"),
)  # fmt: skip

_FRAME = """
import runpy
import snakemake.script
from modecollapse.jobs.running import NO_MODEL_NEEDS, Job
runpy.run_path({script!r}, run_name="imported")
job = Job(None)
"""


def compare(device: str) -> list[Comparison]:
    """Rows of the table, see the module; the same on any machine."""
    cpu_of([sys.executable, "-c", "import torch, transformers.modeling_utils, trl"], ROOT)  # reads the files
    empty = _Kind("a job that does nothing", "plot", "", "pass")
    return [_compared(kind) for kind in (empty, *_KINDS)]


def _compared(kind: _Kind) -> Comparison:
    ours = _FRAME.format(script=str(ROOT / "scripts" / f"{kind.script}.py")) + kind.body
    taken = {code: cpu_of([sys.executable, "-c", code], ROOT, _environment())[0] for code in (ours, kind.bare)}
    return Comparison(
        f"until the work begins: {kind.case}",
        "all of the process",
        kind.bare if kind.bare != "pass" else "python -c pass",
        taken[ours],
        taken[kind.bare],
        lower=True,
        more={"slowest": _slowest(ours)},
    )


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT / "workflow"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def _slowest(code: str) -> str:
    """The packages that take longest to import (first two parts of a module's name), with their share of all."""
    _, printed = cpu_of([sys.executable, "-X", "importtime", "-c", code], ROOT, _environment())
    own: Counter[str] = Counter()
    for line in printed.splitlines():
        columns = line.removeprefix("import time:").split("|")
        if line.startswith("import time:") and len(columns) == 3 and columns[0].strip().isdigit():
            own[".".join(columns[2].strip().split(".")[:2])] += int(columns[0])
    whole = own.total()
    return "; ".join(f"{name} {taken / whole:.0%}" for name, taken in own.most_common(_SLOWEST))
