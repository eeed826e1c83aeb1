"""What the jobs of real studies ask for, and machines on which they cannot run."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from modecollapse.cells import Model
from modecollapse.errors import StudyError
from modecollapse.methods.layout import Layout
from modecollapse.methods.lora import LoraSettings
from modecollapse.resources.demand import Demand
from modecollapse.resources.demands import Demands
from modecollapse.resources.machine import Limits, Machine, read_limits, read_machine
from modecollapse.resources.training import training_flops
from modecollapse.specs import data_spec, generation_spec, model_spec
from modecollapse.study import Study
from modecollapse.study_files import load_study
from modecollapse.study_inheritance import read_study
from modecollapse.targets import Targets
from tests.projects import ROOT
from tests.studies import SMOKE, parse

CONFIG = ROOT / "config"


def load(study: str, tmp_path: Path, **machine: Any) -> Study:
    return load_study({"study": study, "results": str(tmp_path), "machine": machine}, CONFIG)


def jobs(demands: Demands, model: Model) -> dict[str, Demand]:
    scores = demands.study.reference_scores(model)
    return {
        **({} if scores is None else {"score_reference": demands.reference_scores(scores)}),
        "train": demands.model(model),
        "generate": demands.generation(model),
        "measure_tokens": demands.tokens(model),
        "run_benchmarks": demands.benchmarks(model),
    }


def test_the_embedded_study_is_computed_as_ever_and_asks_for_what_a_laptop_has(tmp_path: Path) -> None:
    study = load("nano", tmp_path)
    demands = Demands(study, Machine())
    for model in study.trained():
        settings = study.settings(model)
        batch = getattr(settings, "minibatch_size", None) or settings.batch_size  # type: ignore[attr-defined]
        assert demands.layout(model) == Layout(processes=1, zero_stage=0, micro_batch=batch)
        for demand in jobs(demands, model).values():
            assert demand.gpus == 0
            assert 500 < demand.mem_mb(1, Machine()) < 4000
            assert 10 < demand.minutes(1) < 60


def test_preference_methods_ask_for_what_they_do_and_share_what_their_reference_gives() -> None:
    content = read_study(SMOKE, CONFIG)
    dpo = content["stages"].pop("dpo")
    kept = {key: value for key, value in dpo.items() if key not in ("beta", "method")}
    for method in ("dpo", "ipo", "kto", "simpo", "orpo"):
        content["stages"][method] = {**kept, "method": method}
    study = parse(content)
    [shared] = study.all_reference_scores()
    demands, found = Demands(study, Machine()), {}
    for model in study.trained():
        found[model.stage] = demands.training(model)
        with_reference = model.stage in ("dpo", "ipo", "kto")
        assert study.reference_scores(model) == (shared if with_reference else None)
        one_process = model.stage in ("plm", "kto")
        gpus = Demands(study, Machine(gpus_per_node=4, training_gpus=2)).layout(model).processes
        assert gpus == (1 if one_process else 2)
    assert {found[name].kind for name in ("dpo", "ipo", "simpo", "orpo")} == {"pairs"}
    assert (found["kto"].kind, found["kto"].examples) == ("answers", 2 * found["dpo"].examples)
    assert found["kto"].forward_passes == 2
    assert training_flops(found["kto"]) == pytest.approx(training_flops(found["dpo"]) * 10 / 6, rel=0.01)


def test_tuning_on_sampled_answers_holds_its_other_models_and_runs_in_one_process() -> None:
    content = read_study(SMOKE, CONFIG)
    dpo = content["stages"].pop("dpo")
    data = dpo["data"]
    common = {"from": "sft", "data": data, "steps": 10, "batch_size": 16, "samples_per_prompt": 4, "max_length": 128}
    common |= {"max_new_tokens": 64, "dtype": "float32"}
    content["stages"] |= {
        "rm": {"method": "reward", "from": "sft", "data": data, "max_length": 128, "max_prompt_length": 64},
        "by_words": {"method": "rloo", "reward": "words", **common},
        "by_model": {"method": "rloo", "reward": "rm", **common, "minibatch_size": 8},
        "adapter": {"method": "grpo", "reward": "rm", "lora": {"rank": 2}, **common, "minibatch_epochs": 3},
    }
    study = parse(content)
    found = {model.stage: model for model in study.trained()}
    demands = Demands(study, Machine())
    jobs = {name: demands.training(found[name]) for name in ("by_words", "by_model", "adapter")}
    weights = 4.0 * demands.shape(found["sft"]).parameters
    sampling = jobs["by_words"].others - weights
    assert sampling > 0
    assert jobs["by_model"].others == pytest.approx(2 * weights + sampling), "reference and reward model"
    assert jobs["adapter"].others == pytest.approx(weights + sampling), "an adapter is taken off for the reference"
    assert [job.updates for job in jobs.values()] == [10, 20, 30]
    assert demands.model(found["by_words"]).minutes(1) > 0
    assert Demands(study, Machine(gpus_per_node=4, training_gpus=2)).layout(found["by_model"]).processes == 1


def test_a_size_demands_more_than_a_smaller_one_and_a_later_attempt_more_than_the_first(tmp_path: Path) -> None:
    study, machine = load("pythia", tmp_path), Machine(gpus_per_node=4)
    demands = Demands(study, machine)
    models = [Model(size, 0, "dpo") for size in study.config.models]
    for smaller, larger in pairwise(models):
        for less, more in zip(jobs(demands, smaller).values(), jobs(demands, larger).values(), strict=True):
            assert less.memory < more.memory
            assert less.seconds < more.seconds
            assert less.disk <= more.disk
            assert more.mem_mb(1, machine) < more.mem_mb(2, machine) < more.mem_mb(3, machine)
            assert more.minutes(1) < more.minutes(2)
    assert {demands.generation(model).gpus for model in models} == {1}
    assert (demands.embedding().gpus, demands.scoring(models[0]).gpus) == (1, 0)
    assert demands.model(Model("pythia-70m", 0, "plm")).gpus == 0, "weights are taken over without a GPU"


def test_no_job_asks_for_more_memory_than_a_node_has(tmp_path: Path) -> None:
    machine = Machine(gpus_per_node=4, node_memory_gb=32)
    demands = Demands(load("pythia", tmp_path), machine)
    assert demands.model(Model("pythia-2.8b", 0, "dpo")).mem_mb(3, machine) == 32_000


def test_state_on_disk_is_two_checkpoints_and_outputs_are_the_weights(tmp_path: Path) -> None:
    demands = Demands(load("pythia", tmp_path), Machine(gpus_per_node=4))
    sft, dpo = (demands.model(Model("pythia-1b", 0, stage)) for stage in ("sft", "dpo"))
    assert sft.disk == 4 * 1_011_781_632
    assert sft.temporary == 2 * 12 * 1_011_781_632
    assert dpo.temporary == 2 * 8 * 1_011_781_632  # RMSprop keeps one moment
    assert sft.disk_mb() == pytest.approx((sft.disk + sft.temporary) / 1e6, abs=101)


def test_smaller_gpus_lead_to_several_of_them_and_a_number_that_is_asked_for_is_kept(tmp_path: Path) -> None:
    study = load("pythia", tmp_path)
    small = Demands(study, Machine(gpus_per_node=4, gpu_memory_gb=40))
    layouts = {size: small.layout(Model(size, 0, "dpo")) for size in study.config.models}
    assert (layouts["pythia-70m"].processes, layouts["pythia-70m"].zero_stage) == (1, 0)
    assert (layouts["pythia-2.8b"].processes, layouts["pythia-2.8b"].zero_stage) == (4, 2)
    asked = Demands(study, Machine(gpus_per_node=4, training_gpus={"pythia-70m": 2}))
    assert asked.layout(Model("pythia-70m", 0, "sft")).processes == 2
    assert asked.model(Model("pythia-70m", 0, "sft")).gpus == 2
    assert asked.layout(Model("pythia-160m", 0, "sft")).processes == 1


def test_pretended_gpus_are_counted_as_gpus_and_their_memory_as_main_memory(tmp_path: Path) -> None:
    study, model = load("nano-smoke", tmp_path), Model("tiny", 0, "sft")
    pretended = Demands(study, Machine(gpus_per_node=2, training_gpus=2, accelerator="cpu")).model(model)
    assert pretended.gpus == 2
    assert pretended.layout == Layout(processes=2, zero_stage=0, micro_batch=8)
    assert pretended.memory > 1.9 * Demands(study, Machine()).model(model).memory


def test_all_epochs_of_a_run_are_one_job_that_keeps_a_model_of_each(tmp_path: Path) -> None:
    study = load("pythia-epochs", tmp_path)
    demands = Demands(study, Machine(gpus_per_node=4))
    runs = [model for model in study.trained() if len(study.run(model)) > 1]
    one = demands.model(runs[0])
    assert one is demands.model(study.run(runs[0])[-1])
    assert one.disk == len(study.run(runs[0])) * 4 * 2_775_208_960


def test_an_adapter_needs_less_of_everything(tmp_path: Path) -> None:
    demands, model = Demands(load("pythia", tmp_path), Machine(gpus_per_node=4)), Model("pythia-2.8b", 0, "dpo")
    whole = demands.training(model)
    settings = demands.study.settings(model)
    tuned = settings.model_copy(update={"lora": LoraSettings(rank=16, quantization="nf4")})
    study = demands.study
    object.__setattr__(study, "settings", lambda _: tuned)
    adapted = Demands(study, demands.machine).training(model)
    assert adapted.adapter is not None
    assert adapted.adapter.quantized
    assert adapted.trained < whole.trained / 100


def test_a_loss_over_the_whole_batch_is_not_divided(tmp_path: Path) -> None:
    study, model = load("pythia", tmp_path), Model("pythia-70m", 0, "dpo")
    demands = Demands(study, Machine(gpus_per_node=4, training_gpus=4))
    assert demands.layout(model).processes == 4
    tuned = study.settings(model).model_copy(update={"loss_type": "aot"})
    object.__setattr__(study, "settings", lambda _: tuned)
    assert Demands(study, demands.machine).layout(model) == Layout(micro_batch=64)


def test_what_is_said_for_plans_alone_is_in_no_spec(tmp_path: Path) -> None:
    stated, own = load("pythia", tmp_path), tmp_path / "pythia.yaml"
    content = yaml.safe_load((CONFIG / "studies/pythia.yaml").read_text())
    for model in content["models"].values():
        del model["shape"]
    for data in content["data"].values():
        del data["expected"]
    own.write_text(yaml.safe_dump(content, sort_keys=False))
    silent = load(str(own), tmp_path / "results")
    for model in stated.trained():
        assert model_spec(stated, model) == model_spec(silent, model)
        assert generation_spec(stated, model) == generation_spec(silent, model)
    for name in stated.config.data:
        assert data_spec(stated, name) == data_spec(silent, name)


@pytest.mark.parametrize(
    ("machine", "key", "found", "allowed"),
    [
        ({"gpus_per_node": -1}, "machine.gpus_per_node", "-1", "greater than or equal to 0"),
        ({"gpus": 4}, "machine.gpus", "no such key", "gpus_per_node"),
        ({"training_gpus": "many"}, "machine.training_gpus", "'many'", "auto, a number of 1 or more"),
        ({"training_gpus": {"pythia-70m": 0}}, "machine.training_gpus", "0", "auto, a number of 1 or more"),
        ({"gpu_memory_gb": "large"}, "machine.gpu_memory_gb", "'large'", "valid number"),
        ({"accelerator": "tpu"}, "machine.accelerator", "'tpu'", "'cuda' or 'cpu'"),
    ],
)
def test_a_wrong_machine_is_said_with_its_key_what_was_found_and_what_is_allowed(
    machine: dict[str, Any], key: str, found: str, allowed: str
) -> None:
    with pytest.raises(StudyError) as caught:
        read_machine({"machine": machine})
    assert key in str(caught.value)
    assert found in str(caught.value)
    assert allowed in str(caught.value)


def test_a_machine_may_be_given_as_text_as_on_the_command_line() -> None:
    text = {"gpus_per_node": "4", "gpu_memory_gb": "80", "training_gpus": {"a": "2", "b": "auto"}}
    assert read_machine({"machine": text}) == Machine(
        gpus_per_node=4, gpu_memory_gb=80, training_gpus={"a": 2, "b": "auto"}
    )
    assert read_machine({}) == Machine()
    with pytest.raises(StudyError, match="machine: found 'h100'"):
        read_machine({"machine": "h100"})


@pytest.mark.parametrize(
    ("machine", "sentences"),
    [
        (
            {"gpus_per_node": 8, "training_gpus": 3},
            ["machine.training_gpus: found 3", "stages.sft.batch_size 64", "Allowed: 1, 2, 4, 8, or auto"],
        ),
        (
            {"gpus_per_node": 4, "training_gpus": {"pythia-2.8b": 8}},
            ["machine.training_gpus.pythia-2.8b: found 8", "machine.gpus_per_node is 4", "1 to 4"],
        ),
        ({"training_gpus": 2}, ["machine.training_gpus: found 2", "machine.gpus_per_node is 0"]),
        (
            {"gpus_per_node": 4, "training_gpus": {"pythia-3b": 2}},
            ["machine.training_gpus.pythia-3b", "no such size", "pythia-2.8b"],
        ),
        (
            {"gpus_per_node": 2, "gpu_memory_gb": 24},
            [
                "stages.sft (pythia-1.4b/s0/sft)",
                "1.41 billion parameters",
                "each of 2 GPUs with ZeRO-3",
                "machine.gpu_memory_gb is 24",
                "stages.sft.lora",
                "stages.sft.max_length",
            ],
        ),
    ],
)
def test_what_cannot_be_trained_on_a_machine_is_said_before_any_job(
    machine: dict[str, Any], sentences: list[str], tmp_path: Path
) -> None:
    with pytest.raises(StudyError) as caught:
        load("pythia", tmp_path, **machine)
    for sentence in sentences:
        assert sentence in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_the_configuration_of_slurms_plugin_may_stand_beside_the_machine(tmp_path: Path) -> None:
    settings = {"study": "nano-smoke", "results": str(tmp_path), "machine": {}, "partitions": {"gpu": {"max_gpu": 4}}}
    assert load_study(settings, CONFIG).name == "nano-smoke"


def test_later_attempts_ask_for_no_more_than_some_partition_gives(tmp_path: Path) -> None:
    study, model = load("pythia", tmp_path), Model("pythia-2.8b", 0, "dpo")
    limits = read_limits({"partitions": {"cpu": {"max_mem_mb": 10}, "gpu": {"max_runtime": 2000, "max_gpu": 4}}})
    machine = Machine(gpus_per_node=4, gpu_type="h100")
    asked = {}
    for name, of in {"free": Demands(study, machine), "bound": Demands(study, machine, limits)}.items():
        resources = of.resources("train", lambda _, of=of: of.model(model))
        asked[name] = [resources["runtime"](None, attempt) for attempt in (1, 2, 3)]
        assert resources["gpu_model"](None) == "h100"
    first = asked["free"][0]
    assert asked["free"] == [first, 2 * first, 3 * first]
    assert first < 2000
    assert asked["bound"] == [first, 2000, 2000]
    # A job that resumes may run into a shorter limit from the start.
    short = Demands(study, machine, Limits(({"max_runtime": 600, "max_gpu": 4},)))
    resources = short.resources("train", lambda _: short.model(model))
    assert [resources["runtime"](None, attempt) for attempt in (1, 2)] == [600, 600]
    # One that no partition takes even at first stays as it is, for the error that says so.
    assert Limits(({"max_runtime": 10},)).cap("runtime", 30, 60, 0) == 30


def test_a_server_takes_its_share_of_a_gpu_and_the_time_it_starts_in(tmp_path: Path) -> None:
    model = Model("pythia-1b", 0, "plm")
    own = tmp_path / "own.yaml"
    own.write_text("{extends: pythia, generation: {engine: vllm}}")
    machine = Machine(gpus_per_node=4, gpu_memory_gb=80)
    served = Demands(load(str(own), tmp_path), machine).generation(model)
    alone = Demands(load("pythia", tmp_path), machine).generation(model)
    assert (served.gpus, served.device) == (1, 0.9 * 80e9)
    assert served.seconds > alone.seconds
    assert served.memory > alone.memory


def test_a_run_that_is_watched_by_benchmarks_takes_the_time_of_its_looks() -> None:
    content = read_study(SMOKE, CONFIG)
    content["data"]["asked"] = {"world": "choices", "n": 40}
    content["measures"]["benchmarks"] = {"tasks": {"nano_facts": {"data": "asked"}}, "include": "tasks/nano"}
    content["measures"]["guard_rails"] = {"reference": "sft", "tasks": {"nano_facts": {"margin": 0.1, "shots": 0}}}
    ppo = {"method": "ppo", "from": "sft", "reward": "words", "data": "preferences", "steps": 10, "max_length": 128}
    ppo |= {"max_new_tokens": 24}
    for name, guards in {"free": None, "seldom": {"every": 5}, "often": {"every": 1}}.items():
        content["stages"][name] = {**ppo, "guard_rails": guards}
    study = parse(content)
    demands = Demands(study, Machine())
    jobs = {
        model.stage: demands.training(model) for model in study.trained() if model.stage in ("free", "seldom", "often")
    }
    looks = [jobs[name].seconds_beside - jobs["free"].seconds_beside for name in ("seldom", "often")]
    assert looks[1] == pytest.approx(3 * looks[0]), "twelve looks and four, the parent's and the last one among them"
    assert jobs["often"].others > jobs["free"].others


def test_data_cards_hold_the_texts_of_all_their_sets_and_search_one_after_another(tmp_path: Path) -> None:
    study = load("rlhf", tmp_path)
    demands, names = Demands(study, Machine()), [name for name, *_ in Targets(study).card_sets()]
    assert {"helpful", "typed", "filtered", "own"} <= set(names)
    cards, each = demands.data_cards(names), [demands.derived_data(name) for name in names]
    sizes = [demands.extent(name).bytes for name in names]
    largest = max(one.memory for one in each)
    assert cards.memory == pytest.approx(largest + 3 * (sum(sizes) - max(sizes)))
    assert max(one.seconds for one in each) < cards.seconds < sum(one.seconds for one in each)
    assert cards.seconds > sum(sizes) / 1e5
    assert 2 * demands.analysis().memory < cards.memory < 10e9
