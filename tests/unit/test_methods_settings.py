"""Settings of training methods: the paper's values by default, and combinations that make no sense refused."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from modecollapse.methods import METHODS, dpo, pretrain, sft
from modecollapse.methods.architecture import ArchitectureSettings
from modecollapse.methods.base import Capability
from modecollapse.methods.checkpoint import CheckpointSettings

PACKAGE = Path(pretrain.__file__).parents[2]


def test_importing_the_registry_loads_no_slow_library():
    code = (
        "import sys; import modecollapse.methods; "
        "print(*sorted({m.partition('.')[0] for m in sys.modules} & {'torch','transformers','trl','datasets','numpy'}))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(PACKAGE)}, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == ""


def test_every_method_is_registered_under_its_own_name_and_names_modules_that_exist():
    names = {"pretrain", "sft", "dpo", "ipo", "kto", "simpo", "orpo", "reward", "ppo"}
    names |= {"rloo", "grpo", "best_of_n", "rejection_sft", "checkpoint", "adapter", "unmerged"}
    assert set(METHODS) == names
    for name, method in METHODS.items():
        assert method.name == name
        for module in method.modules:
            assert (PACKAGE / "modecollapse" / (module.replace(".", "/") + ".py")).is_file()


@pytest.mark.parametrize("capability", get_args(Capability))
def test_a_capability_is_true_or_false_of_every_method(capability):
    assert {type(getattr(method, capability)) for method in METHODS.values()} == {bool}


def test_dropout_of_an_adapter_that_would_be_turned_off_is_refused():
    with pytest.raises(ValidationError, match=r"lora\.dropout must be 0"):
        METHODS["reward"].settings.model_validate({"lora": {"dropout": 0.1}})


def test_fine_tuning_defaults_are_those_of_the_paper_and_its_code():
    for settings in (sft.SftSettings(), dpo.DpoSettings()):
        assert (settings.learning_rate, settings.schedule, settings.batch_size, settings.epochs) == (
            1e-6,
            "constant",
            64,
            1,
        )
    assert (sft.SftSettings().betas, sft.SftSettings().weight_decay, sft.SftSettings().clip) == ((0.9, 0.95), 1e-6, 1.0)
    tuning = dpo.DpoSettings()
    assert (tuning.beta, tuning.optimizer, tuning.warmup_steps, tuning.clip) == (0.1, "rmsprop", 150, 10.0)
    assert (tuning.max_length, tuning.max_prompt_length, tuning.sft_weight) == (512, 256, 0.0)


def test_the_answer_column_is_part_of_what_supervised_fine_tuning_needs():
    method = METHODS["sft"]
    assert method.columns(sft.SftSettings()) == ("prompt", "completion")
    assert method.columns(sft.SftSettings(column="chosen")) == ("prompt", "chosen")
    assert METHODS["dpo"].columns(dpo.DpoSettings()) == ("prompt", "chosen", "rejected")


def test_settings_survive_the_way_through_json():
    for model in (sft.SftSettings(betas=(0.9, 0.98)), dpo.DpoSettings(), pretrain.PretrainSettings()):
        assert type(model).model_validate_json(model.model_dump_json()) == model


@pytest.mark.parametrize(
    ("model", "values", "word"),
    [
        (dpo.DpoSettings, {"label_smoothing": 0.1}, "no effect"),
        (dpo.DpoSettings, {"loss_type": "ipo", "label_smoothing": 0.1}, "no effect"),
        (dpo.DpoSettings, {"loss_type": "exo_pair"}, "above 0"),
        (dpo.DpoSettings, {"loss_type": "robust", "label_smoothing": 0.5}, "less than 0.5"),
        (dpo.DpoSettings, {"loss_type": "sft"}, "sigmoid"),
        (dpo.DpoSettings, {"beta": 0.0}, "greater than 0"),
        (dpo.DpoSettings, {"max_length": 256}, "no room"),
        (dpo.DpoSettings, {"betas": (0.9, 0.98)}, "rmsprop has no betas"),
        (dpo.DpoSettings, {"weight_decay": 0.1}, "rmsprop has no betas"),
        (dpo.DpoSettings, {"optimizer": "adamw"}, "needs betas"),
        (sft.SftSettings, {"betas": (0.9, 1.0)}, "below 1"),
        (sft.SftSettings, {"log_every": 10, "save_every": 25}, "multiple of log_every"),
        (sft.SftSettings, {"learning_rate": 0.0}, "greater than 0"),
        (sft.SftSettings, {"learning_rates": 1e-6}, "not permitted"),
        (sft.SftSettings, {"column": "answer"}, "completion"),
        (pretrain.PretrainSettings, {"log_every": 10, "save_every": 25}, "multiple of log_every"),
        (pretrain.PretrainSettings, {"betas": (0.9, -0.1)}, "below 1"),
        (pretrain.PretrainSettings, {"tokens": 0}, "greater than 0"),
        (CheckpointSettings, {}, "source"),
        (ArchitectureSettings, {"hidden_size": 50, "layers": 2, "heads": 4, "context": 64}, "e.g. 52"),
        (ArchitectureSettings, {"hidden_size": 16, "layers": 2, "heads": 4, "context": 64}, "at most 2 heads"),
    ],
)
def test_an_impossible_setting_is_refused_with_a_way_out(model, values, word):
    with pytest.raises(ValidationError, match=word):
        model(**values)


def test_robust_loss_may_be_smoothed_and_short_pairs_need_no_prompt_limit():
    assert dpo.DpoSettings(loss_type="robust", label_smoothing=0.1).label_smoothing == 0.1
    assert dpo.DpoSettings(max_length=128, too_long="error").max_length == 128
