"""A stage with `each_epoch` stands for the stages NAME-1, NAME-2, … of one training run."""

import copy
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modecollapse.cells import Model
from modecollapse.errors import StudyError
from modecollapse.figures.context import FigureContext, families
from modecollapse.figures.registry import Drawing
from modecollapse.jobs.models import Asked, Inputs, make_models
from modecollapse.lineage import paths
from modecollapse.methods import METHODS
from modecollapse.methods.base import Method, TrainingJob, TrainingRecord
from modecollapse.methods.order import epoch_batches
from modecollapse.schema import Strict
from modecollapse.specs import figure_spec, model_spec, run_spec
from modecollapse.store import Store, model_key
from modecollapse.study import Study, parse_study
from modecollapse.targets import Targets
from modecollapse.yaml_files import read_yaml

CONFIG = Path(__file__).parents[2] / "config"
SMOKE = CONFIG / "studies" / "nano-smoke.yaml"
ANY_RUN = Model("{size}", "{seed}", "{run}")  # type: ignore[arg-type]


def parse(content: dict[str, Any]) -> Study:
    return parse_study(content, "smoke", SMOKE, CONFIG, Path("results"))


def spec(study: Study, stage: str, size: str = "tiny") -> dict[str, Any]:
    value: dict[str, Any] = json.loads(model_spec(study, Model(size, 0, stage)))
    return value


@pytest.fixture
def smoke() -> dict[str, Any]:
    return copy.deepcopy(read_yaml(SMOKE))


@pytest.fixture
def grid(smoke: dict[str, Any]) -> dict[str, Any]:
    """Three epochs of SFT, and three of DPO from nothing and from the first and second of them."""
    stages = smoke["stages"]
    sft = {**stages["sft"], "epochs": 3, "each_epoch": True}
    dpo = {**stages["dpo"], "epochs": 3, "each_epoch": True}
    smoke["stages"] = {
        "plm": stages["plm"],
        "sft": sft,
        "dpo0": {**dpo, "from": "plm"},
        "dpo1": {**dpo, "from": "sft-1"},
        "dpo2": {**dpo, "from": "sft-2"},
    }
    return smoke


def test_every_epoch_is_a_stage_that_continues_the_one_before(grid: dict[str, Any]) -> None:
    study = parse(grid)
    assert [">".join(line) for line in paths(study.lineage)] == [
        "plm>sft-1>sft-2>sft-3",
        "plm>dpo0-1>dpo0-2>dpo0-3",
        "plm>sft-1>dpo1-1>dpo1-2>dpo1-3",
        "plm>sft-1>sft-2>dpo2-1>dpo2-2>dpo2-3",
    ]
    assert len(study.models) == len(study.stages) == 13
    assert [study.label(stage) for stage in ("sft-1", "dpo2-3")] == ["SFT 1", "DPO2 3"]


def test_one_run_makes_all_its_epochs_from_the_runs_parent(grid: dict[str, Any]) -> None:
    study = parse(grid)
    second = Model("tiny", 0, "dpo2-2")
    assert study.parent(second) == Model("tiny", 0, "dpo2-1")
    assert study.start(second) == Model("tiny", 0, "sft-2")
    assert study.run(second) == [Model("tiny", 0, f"dpo2-{epoch}") for epoch in (1, 2, 3)]
    assert study.run(Model("tiny", 0, "plm")) == [Model("tiny", 0, "plm")]
    assert [study.epoch(Model("tiny", 0, stage)) for stage in ("plm", "dpo2-2")] == [None, 2]
    targets = Targets(study)
    assert targets.training_inputs(second)["parent_manifest"] == "results/smoke/models/tiny/s0/sft-2/manifest.json"
    assert targets.training_stages() == ["plm"]
    ((name, runs, outputs),) = targets.epoch_rules(ANY_RUN)
    assert (name, runs) == ("train_3_epochs", ["sft", "dpo0", "dpo1", "dpo2"])
    assert outputs["weights"] == [f"results/smoke/models/{{size}}/s{{seed}}/{{run}}-{n}/weights" for n in (1, 2, 3)]


def test_runs_of_different_lengths_have_rules_of_different_names(grid: dict[str, Any]) -> None:
    grid["stages"]["dpo0"]["epochs"] = 1
    rules = {name: runs for name, runs, _ in Targets(parse(grid)).epoch_rules(ANY_RUN)}
    assert rules == {"train_3_epochs": ["sft", "dpo1", "dpo2"], "train_1_epochs": ["dpo0"]}


def test_the_first_epoch_is_asked_for_as_an_ordinary_run_of_one_epoch(
    smoke: dict[str, Any], grid: dict[str, Any]
) -> None:
    assert spec(parse(grid), "sft-1") == spec(parse(read_yaml(SMOKE)), "sft")
    assert spec(parse(grid), "sft-2")["settings"]["epochs"] == 2
    assert [spec(parse(grid), f"sft-{epoch}").get("epoch") for epoch in (1, 2, 3)] == [None, 2, 3]


def test_more_epochs_leave_the_earlier_ones_alone_unless_the_schedule_spans_the_run(grid: dict[str, Any]) -> None:
    before = parse(grid)
    grid["stages"]["sft"]["epochs"] = 4
    longer = parse(grid)
    for stage in ("sft-1", "sft-2", "sft-3"):
        assert spec(before, stage) == spec(longer, stage)
    grid["stages"]["sft"]["schedule"] = "cosine"
    cosine = {stage: spec(parse(grid), stage) for stage in ("sft-1", "sft-2")}
    assert [(one["settings"]["epochs"], one["epoch"]) for one in cosine.values()] == [(4, 1), (4, 2)]


def test_the_spec_of_a_run_is_that_of_its_epochs_whichever_is_asked_for(grid: dict[str, Any]) -> None:
    study = parse(grid)
    asked = {run_spec(study, Model("tiny", 0, f"sft-{epoch}")) for epoch in (1, 2, 3)}
    assert len(asked) == 1
    assert json.loads(asked.pop())["epochs"] == [spec(study, f"sft-{epoch}") for epoch in (1, 2, 3)]


def test_what_a_size_does_differently_holds_for_all_epochs(grid: dict[str, Any]) -> None:
    grid["models"]["tiny"]["stages"] = {"sft": {"learning_rate": 0.5}}
    rates = {stage: spec(parse(grid), stage)["settings"]["learning_rate"] for stage in ("sft-1", "sft-3", "dpo0-1")}
    assert rates == {"sft-1": 0.5, "sft-3": 0.5, "dpo0-1": 2e-4}


def test_what_was_published_is_the_first_epoch(grid: dict[str, Any]) -> None:
    grid["models"]["tiny"]["published_as"] = "pythia-70m"
    grid["stages"]["sft"]["published_as"] = "sft"
    assert parse(grid).published() == {("tiny", "sft-1"): ("pythia-70m", "sft")}


def test_a_label_gets_the_number_of_the_epoch(grid: dict[str, Any]) -> None:
    grid["stages"]["sft"]["label"] = "Fine-tuned"
    assert parse(grid).label("sft-2") == "Fine-tuned 2"


def test_figures_show_stages_in_the_order_of_the_study_file(grid: dict[str, Any]) -> None:
    study = parse(grid)
    spec = json.loads(figure_spec(study, Drawing("lineage")))
    context = FigureContext.from_spec(spec["context"], spec["sizes"])
    assert list(context.stages) == study.stages
    runs = ("sft", "dpo0", "dpo1", "dpo2")
    assert families(context.stages) == [["plm"], *([f"{run}-{n}" for n in (1, 2, 3)] for run in runs)]
    assert context.stages["dpo0-2"].run_label == "DPO0"


def test_a_study_without_such_runs_is_as_it_was(smoke: dict[str, Any]) -> None:
    study = parse(smoke)
    assert study.runs.stages == {}
    assert Targets(study).epoch_rules(ANY_RUN) == []
    assert Targets(study).training_stages() == ["plm", "sft", "dpo"]
    assert "each_epoch" not in model_spec(study, Model("tiny", 0, "sft"))


def test_no_batch_spans_two_epochs() -> None:
    assert [list(batch) for batch in epoch_batches(5, 2, 2)] == [[0, 1], [2, 3], [4], [5, 6], [7, 8], [9]]
    assert [list(batch) for batch in epoch_batches(2, 2, 4)] == [[0, 1], [2, 3]]
    assert [place for batch in epoch_batches(24, 3, 4) for place in batch] == list(range(72))


def stage(name: str, **keys: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["stages"].setdefault(name, {}).update(keys)


def size(**stages: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["models"]["tiny"].update(stages=stages)


def clash(content: dict[str, Any]) -> None:
    content["stages"]["sft-2"] = {**content["stages"]["sft"], "each_epoch": False}


def clash_of_runs(content: dict[str, Any]) -> None:
    content["stages"]["sft-2"] = {**content["stages"]["sft"], "each_epoch": True}
    content["stages"]["sft"]["epochs"] = 2
    content["stages"]["dpo1"]["from"] = "plm"
    content["stages"]["sft-2-1"] = {**content["stages"]["sft"], "each_epoch": False}


BAD = {
    "the run where an epoch is meant": (
        stage("dpo1", **{"from": "sft"}),
        ["stages.dpo1.from: sft is kept after each of its epochs", "sft-1, sft-2, sft-3"],
    ),
    "an epoch that the run does not have": (
        stage("dpo1", **{"from": "sft-4"}),
        ["stages.dpo1.from: no stage is called 'sft-4'", "Allowed: plm, sft-1, sft-2, sft-3, dpo0-1"],
    ),
    "a run that continues itself": (stage("sft", **{"from": "sft-1"}), ["descend from each other in a circle"]),
    "a stage of an epoch's name": (clash, ["stages.sft.each_epoch: it makes a stage sft-2, but there is one"]),
    "a stage of the name of a run's epoch": (clash_of_runs, ["each_epoch: it makes a stage sft-2"]),
    "a difference of a size in one epoch": (
        size(**{"sft-2": {"learning_rate": 0.5}}),
        ["models.tiny.stages.sft-2: sft-2 is an epoch of the run sft", "Allowed: models.tiny.stages.sft"],
    ),
    "another number of epochs in one size": (
        size(sft={"epochs": 2}),
        ["models.tiny.stages.sft.epochs", "the same for all sizes", "Allowed: 3"],
    ),
    "epochs kept in one size only": (
        size(sft={"each_epoch": False}),
        ["models.tiny.stages.sft.each_epoch: it is the same for all sizes. Set it in stages.sft."],
    ),
    "a wrong key in a size": (
        size(sft={"learning": 0.5}),
        ["models.tiny.stages.sft.learning", "no such key"],
    ),
    "data that does not exist": (stage("sft", data="none"), ["stages.sft.data: no data set is called 'none'"]),
    "a length beyond the context": (stage("sft", max_length=129), ["stages.sft.max_length: 129 tokens do not fit"]),
    "epochs of a method that has none": (stage("plm", each_epoch=True), ["stages.plm.each_epoch", "no such key"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_the_key_of_the_study_file(case: str, grid: dict[str, Any]) -> None:
    change, words = BAD[case]
    change(grid)
    with pytest.raises(StudyError) as error:
        parse(grid)
    for word in words:
        assert word in str(error.value)


@pytest.fixture
def noisy(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Registers the method "noisy", each of whose runs gives other weights; the list counts the runs."""
    made: list[int] = []

    def run(job: TrainingJob) -> TrainingRecord:
        made.append(len(made))
        for epoch, output in enumerate(job.epoch_outputs):
            (output / "model.safetensors").write_text(f"run {made[-1]}, epoch {epoch}")
        records = [TrainingRecord(steps=2 * n, tokens=3 * n, curves=[{"step": 2 * n, "loss": 0.5}]) for n in (1, 2)]
        return TrainingRecord(steps=4, tokens=6, epochs=records)

    fake = Method("noisy", 1, Strict, run, needs_parent=False, data_columns=(), modules=())
    monkeypatch.setitem(METHODS, "noisy", fake)
    return made


def test_what_is_missing_of_a_run_is_made_again_and_what_is_there_stays_even_if_it_differs(
    noisy: list[int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path / "store")
    asked = [
        Asked(
            Model("tiny", 0, f"sft-{n}"),
            {"method": "noisy", "threads": 1, "epoch": n},
            tmp_path / "models" / f"sft-{n}",
        )
        for n in (1, 2)
    ]
    first = make_models(asked, Strict(), Inputs(), store)
    assert [(one.model, one.steps, one.tokens) for one in first] == [
        ("tiny/s0/sft-1", 2, 3), ("tiny/s0/sft-2", 4, 6)
    ]  # fmt: skip
    assert make_models(asked, Strict(), Inputs(), store) == first
    assert noisy == [0]
    key = model_key(asked[1].spec, {})
    shutil.rmtree(store.root / "models" / key[:2] / key)
    with caplog.at_level(logging.WARNING):
        again = make_models(asked, Strict(), Inputs(), store)
    assert noisy == [0, 1]
    assert again[0] == first[0]
    assert again[1].weights != first[1].weights
    assert "tiny/s0/sft-1 came back from the store, but its run" in caplog.text
    assert not any(path.is_file() for path in (store.root / "state").rglob("*"))
