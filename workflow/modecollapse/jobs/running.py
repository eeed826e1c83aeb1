"""The frame around every job: threads pinned, logging set up, errors said in one message, start-up time told apart."""

import importlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from modecollapse import stopping
from modecollapse.cells import Model, ModelData
from modecollapse.errors import StudyError
from modecollapse.publishing import publish_file
from modecollapse.refused_writes import refusal
from modecollapse.resources.gpus import take_gpus
from modecollapse.store import Store

# The configuration and the methods are imported where they are needed: half a second that most jobs can spare.
if TYPE_CHECKING:
    from modecollapse.analysis.table_files import Failing
    from modecollapse.judging.comparisons import Judgement
    from modecollapse.methods.layout import Layout
    from modecollapse.study import Study

logger = logging.getLogger(__name__)

NO_MODEL_NEEDS = ("scipy", "sklearn", "trio")
"""What computing with a model does without (`Job.do_without`)."""
_TRAINERS = "modecollapse.methods.trainers"
"""They need TRL, which needs pandas."""

_SLOW = ("torch", "transformers", "trl", "datasets", "scipy", "pandas", "matplotlib")
"""Libraries that take long to import; the record of a job's times names those that it did."""


def cpu_seconds() -> float:
    """Processor time of this process, user and system, and of its children that have ended."""
    return sum(os.times()[:4])


class Outputs(dict[str, Path]):
    """The output files of a job by name."""

    candidates: Path | None = None
    """The table that says which stages fail their guard rails, and are marked in what is written; None without any."""


def failing_of(outputs: Mapping[str, Path]) -> "Failing | None":
    """The stages that are marked in what a job writes; None if its outputs name no table that says which fail.

    Raises:
        CorruptFile: the table is not what was published.
    """
    from modecollapse.analysis.table_files import failing_stages

    candidates = outputs.candidates if isinstance(outputs, Outputs) else None
    return None if candidates is None else failing_stages(candidates)


@dataclass
class Job:
    """One running job of the workflow."""

    snakemake: Any
    """Snakemake's own object: `input`, `output`, `params`, `wildcards`, `threads`."""
    ready: float = field(default_factory=time.time)
    """When the work would have begun if all libraries had been loaded at once: everything before is start-up."""
    ready_cpu: float = field(default_factory=cpu_seconds)
    """Seconds of processor time that start-up took."""

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The rule's spec."""
        spec: dict[str, Any] = json.loads(self.snakemake.params.spec)
        return spec

    @cached_property
    def store(self) -> Store:
        """The store of finished work."""
        return Store(Path(str(self.snakemake.config["store"])))

    def load(self, *libraries: str) -> None:
        """Import what the work needs (``module`` or ``module:name``) and count the time as start-up."""
        began, cpu = time.time(), cpu_seconds()
        for library in libraries:
            module, _, name = library.partition(":")
            loaded = importlib.import_module(module)
            if name:
                getattr(loaded, name)
        self.ready += time.time() - began
        self.ready_cpu += cpu_seconds() - cpu

    def do_without(self, *libraries: str) -> None:
        """Have these count as not installed: others import them wherever they are, and this work does not need them.

        Transformers asks for scipy and sklearn, for losses of object detection and for assistants; the client of the
        hub for trio; and pyarrow for pandas (0.4 s of processor time), from which alone that is kept.
        """
        for library in libraries:
            if library == "pandas":
                _keep_pandas_from_pyarrow()
            else:
                sys.modules.setdefault(library, None)  # type: ignore[arg-type]

    def inputs(self, name: str) -> list[Path]:
        """The input files under this name; none if the rule has no such name."""
        value = getattr(self.snakemake.input, name, [])
        return [Path(value)] if isinstance(value, str) else [Path(path) for path in value]

    def outputs(self) -> Outputs:
        """The output files by name."""
        outputs = Outputs((name, Path(path)) for name, path in self.snakemake.output.items())
        outputs.candidates = next(iter(self.inputs("candidates")), None)
        return outputs

    def layout(self) -> "Layout":
        """How this job's training is spread, by the resources that it was given."""
        from modecollapse.methods.layout import Layout

        machine = self.snakemake.config.get("machine") or {}
        return Layout.of(dict(self.snakemake.resources.items()), machine)

    def load_trainer(self) -> None:
        """As `load`, of what the job's method needs; nothing where other processes will train."""
        from modecollapse.methods import METHODS

        settings = self.spec["settings"] if "settings" in self.spec else self.spec["epochs"][0]["settings"]
        if not (settings.get("lora") or {}).get("quantization"):
            # PEFT imports it wherever it is installed, and it the compiler of torch: 2.5 s of every start.
            self.do_without("bitsandbytes")
        layout = self.layout()
        if layout.processes == 1 and not layout.zero_stage:
            libraries = METHODS[self.spec["method"]].libraries
            watched = settings.get("guard_rails") is not None  # by LM Evaluation Harness, which needs them all
            if not watched:
                self.do_without(*NO_MODEL_NEEDS, *([] if _TRAINERS in libraries else ["pandas"]))
            self.load(
                *libraries, *(["modecollapse.methods.guarding", "modecollapse.measures.harness"] if watched else [])
            )

    def model(self) -> Model:
        """The model that this job is about; of a run that keeps the model of every epoch, the first one."""
        wildcards = self.snakemake.wildcards
        stage = wildcards.get("stage")
        if stage is None:
            from modecollapse.epochs import epoch_stage

            stage = epoch_stage(wildcards.run, 1)
        return Model(wildcards.size, int(wildcards.seed), stage)

    def study(self) -> "Study":
        """The study that this job belongs to."""
        from modecollapse.study_files import load_study  # a third of a second, which most jobs can spare

        return load_study(self.snakemake.config, Path(self.snakemake.scriptdir).parent / "config")

    def planned(self, spec_of: "Callable[[Study, Model], str]") -> "tuple[Study, Model]":
        """The study, and the model that this job is about.

        Raises:
            StudyError: the study file was edited after Snakemake planned this job.
        """
        study, model = self.study(), self.model()
        if model not in study.models or spec_of(study, model) != self.snakemake.params.spec:
            raise _edited(study)
        return study, model

    def planned_data(self) -> "tuple[Study, str]":
        """The study, and the data set with a source that this job is about.

        Raises:
            StudyError: the study file or the set's files were edited after Snakemake planned this job.
        """
        from modecollapse.specs import data_spec

        study, name = self.study(), self.snakemake.wildcards.data
        if name not in study.config.data or data_spec(study, name) != self.snakemake.params.spec:
            raise _edited(study)
        return study, name

    def planned_sample(self) -> "tuple[Study, ModelData]":
        """The study, and the data set written by a model that this job is about.

        Raises:
            StudyError: the study file was edited after Snakemake planned this job.
        """
        from modecollapse.specs import sampled_spec

        study, wildcards = self.study(), self.snakemake.wildcards
        data = ModelData(wildcards.size, int(wildcards.seed), wildcards.data)
        if data not in study.all_sampled_data() or sampled_spec(study, data) != self.snakemake.params.spec:
            raise _edited(study)
        return study, data

    def planned_judgement(self) -> "tuple[Study, Judgement]":
        """The study, and the judge and model that this job is about.

        Raises:
            StudyError: the study file, or one of labels, was edited after Snakemake planned this job.
        """
        from modecollapse.judging.comparisons import Comparisons, Judgement
        from modecollapse.judging.specs import judgements_spec

        study, judgement = self.study(), Judgement(self.snakemake.wildcards.judge, self.model())
        known = judgement in Comparisons(study).judgements()
        if not known or judgements_spec(study, judgement) != self.snakemake.params.spec:
            raise _edited(study)
        return study, judgement


def _edited(study: "Study") -> StudyError:
    return StudyError(f"The study {study.name} was edited while it ran. Run the same command again.")


@contextmanager
def running(network: bool = False, polls: bool = False) -> Iterator[Job]:
    """Run a script's body as a job of the workflow: Snakemake has put `snakemake` into the script's globals.

    A `StudyError` becomes one message in the log and on the terminal, without a traceback, and exit status 1. A request
    to stop becomes one message, too, and exit status `stopping.EXIT_STATUS`.

    Args:
        network: without it, the libraries that know the hub are told not to ask it for anything, whatever the
            environment.
        polls: the body asks by itself whether it has to stop (see `stopping`), since it has something to keep then.
            Without it, the body is left at once: what it has published or put into the store stays.
    """
    snakemake = vars(sys.modules["__main__"])["snakemake"]
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(snakemake.threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not network:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub's library is imported, which only the work does
    log = Path(snakemake.log[0])
    started = _process_start()
    job = Job(snakemake)
    try:
        stopping.listen(at_once=not polls)
        _log_to(log)
        take_gpus(int(snakemake.resources.get("gpu", 0)), snakemake.config.get("machine") or {})
        yield job
        times = {"started": started, "ready": job.ready, "ended": time.time()}
        loaded = [name for name in _SLOW if sys.modules.get(name)]
        cpu = {"ready_cpu": job.ready_cpu, "cpu": cpu_seconds()}
        _write_timing(log, {"rule": snakemake.rule, **times, **cpu, "libraries": loaded})
    except StudyError as error:
        _end(snakemake.rule, str(error))
    except stopping.Stopped as stopped:
        _end(
            snakemake.rule,
            f"{stopped}; what was finished is kept, and the same command goes on from there.",
            stopping.EXIT_STATUS,
        )
    except Exception as error:
        message = refusal(error, {key: Path(str(snakemake.config[key])) for key in ("results", "store")})
        if message is None:
            logger.exception("the job failed")
            raise
        _end(snakemake.rule, message)


def _end(rule: str, message: str, status: int = 1) -> NoReturn:
    """Say in the log and on the terminal why the job ends here."""
    if logging.root.handlers:  # otherwise it is the log that cannot be written
        logger.error("%s", message)
    print(f"\n{rule}: {message}\n", file=sys.stderr)
    sys.exit(status)


class _NoPandas(MetaPathFinder):
    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname)


def _keep_pandas_from_pyarrow() -> None:
    """pyarrow asks for it with the first array that it makes from Python, and never again."""
    import pyarrow as pa

    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(finder)


def _write_timing(log: Path, times: Mapping[str, str | float | list[str]]) -> None:
    try:
        with publish_file(log.with_suffix(".timing.json")) as partial:
            partial.write_text(json.dumps(times) + "\n")
    except OSError as error:  # nothing depends on it, and the work is done
        logger.warning("the job's times are not recorded: %s", error)


def device() -> str:
    """Where models run: "cuda" if there is an accelerator, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _log_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        filename=path, filemode="w", level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a log that cannot grow on a full disk is no matter for a traceback for each line


def _process_start() -> float:
    """When this process was created, in seconds since the epoch (its own start-up counts too)."""
    import psutil

    return psutil.Process().create_time()
