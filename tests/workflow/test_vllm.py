"""The vLLM engine: agreement with the other engine, whole jobs through Snakemake, and the real server where it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from modecollapse.cell_tables import cell_record
from modecollapse.generation.engines import ENGINES, EngineJob
from modecollapse.generation.settings import EngineName
from modecollapse.resources.machine import Machine
from modecollapse.sealed import read_sealed
from tests.agreement import disagreement
from tests.projects import Project, make_project
from tests.serving import PROMPTS, computes_on, faults, logged, pretended_vllm, real_vllm, settings, texts
from tests.studies import own_study
from tests.tiny_models import save_neox

ALPHA = 0.01
"""Rate of false alarms of every comparison that is not meant to alarm."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_neox(tmp_path_factory.mktemp("model") / "weights", context=64)


def cells(
    name: EngineName, weights: Path, machine: Machine, temperatures: list[float], **changes: object
) -> list[pa.Table]:
    """A cell of each temperature by the engine of this name; their random numbers have nothing in common."""
    job = EngineJob(weights, settings(**changes), 1, tuple(texts()), machine, Path("/"))
    with ENGINES[name].open(job) as engine:
        prepared = engine.prepare(PROMPTS)
        return [engine.sample(prepared, each, f"{name} {each} {i}") for i, each in enumerate(temperatures)]


def assert_agreement(weights: Path, machine: Machine, **changes: object) -> None:
    """The engines cannot be told apart at one temperature, and can at two; nor can an engine be from itself."""
    ours, again = cells("transformers", weights, machine, [1.0, 1.0], **changes)
    theirs, colder = cells("vllm", weights, machine, [1.0, 0.7], **changes)
    assert cell_record(ours)["engine"] == "transformers"
    assert cell_record(theirs)["engine"] == "vllm"
    for other in (again, theirs):
        probability, found = disagreement(ours, other)
        assert probability > ALPHA, found
    assert disagreement(ours, colder)[0] <= ALPHA


def test_the_engines_sample_from_the_same_distribution_and_the_comparison_would_tell(
    weights: Path, tmp_path: Path
) -> None:
    machine = Machine(vllm=str(pretended_vllm(tmp_path / "environment")))
    assert_agreement(weights, machine, completions=30, top_k=40, top_p=0.95, stop=["q", "zz"])


@pytest.mark.slow
def test_the_comparison_alarms_no_more_often_than_it_says(weights: Path) -> None:
    """200 pairs of cells of one engine; with a rate of 5 %, more than 20 alarms have a probability below 0.1 %."""
    drawn = cells("transformers", weights, Machine(), [1.0] * 400)
    alarms = [
        disagreement(one, two, permutations=400)[0] <= 0.05 for one, two in zip(drawn[::2], drawn[1::2], strict=True)
    ]
    assert sum(alarms) <= 20


def test_a_real_server_samples_from_the_same_distribution(tmp_path: Path) -> None:
    """Takes one to two minutes, most of them for the server to start."""
    installation = real_vllm()
    if installation is None:
        pytest.skip("vLLM is not installed: run `make vllm`, or name an executable in MODECOLLAPSE_VLLM")
    device = computes_on(installation)
    if device is None:
        pytest.skip(f"the vLLM in {installation.executable} is built for GPUs, and there is none")
    machine = Machine(vllm=str(installation.executable), gpus_per_node=int(device == "cuda"))
    model = save_neox(tmp_path / "weights", context=64, heads=1)  # heads of 32: no kernel of its knows smaller ones
    assert_agreement(model, machine, completions=100, top_k=40, top_p=0.95, stop=["q", "zz"])


@contextmanager
def vllm_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Project, Path]]:
    """A study of one checkpoint by the vLLM engine, and the log of a server that has the model's own distribution."""
    log = tmp_path / "requests.jsonl"
    monkeypatch.setenv("PRETEND_VLLM", faults(log))
    generation = {"temperatures": [1.0], "completions": 2, "max_new_tokens": 4, "engine": "vllm"}
    study = own_study(tmp_path / "study", generation=generation)
    save_neox(tmp_path / "study" / "tiny")
    yield make_project(tmp_path / "project", str(study)), log


@pytest.mark.slow
def test_a_study_is_sampled_by_the_engine_that_it_names_once_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with vllm_study(tmp_path, monkeypatch) as (project, log):
        output = project.run("generations", succeeds=False)
        assert "machine.vllm: found '.venv-vllm/bin/vllm'" in output
        assert "generation.engine: vllm" in output
        assert "Run `make vllm`" in output
        assert "Nothing was started and nothing was changed." in output
        assert "Traceback" not in output
        assert not (project.root / "results").exists()
        pretended_vllm(project.root / ".venv-vllm")
        project.run("generations")
        (cell,) = (project.root / "results" / "own").rglob("T1.0.parquet")
        table = read_sealed(cell)
        assert cell_record(table)["engine"] == "vllm"
        assert cell_record(table)["engine_version"] == "0.0.1+pretended"
        assert table.num_rows == len(logged(log, "request"))
        job_log = next((project.root / "logs").rglob("generate/**/*.log")).read_text()
        assert "vllm: Application startup complete." in job_log
