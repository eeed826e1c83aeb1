"""Tiny GPT-NeoX and Llama checkpoints under every prompt format, trained in chat, from sampling to figures."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from modecollapse.sealed import read_metadata, read_sealed
from tests.projects import Project, make_project
from tests.tiny_models import save_llama, save_neox

TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}\n{% endfor %}<|assistant|>\n"
ARCHANGEL = "<|user|>\n{prompt}\n<|assistant|>\n{start}"


def study(checkpoint: Path, family: str) -> dict[str, Any]:
    """A base asked in the paper's words and others, and its supervised fine-tuning in chat format."""
    formats = {"archangel": ARCHANGEL, "own": {"template": TEMPLATE, "system": "Be brief."}}
    chat = "chat" if family == "llama" else "own"
    return {
        "title": f"Every format, {family}",
        "world": {"seed": 0},
        "data": {"answers": {"world": "answers", "n": 16}},
        "models": {"tiny": {}},
        "stages": {
            "base": {
                "method": "checkpoint",
                "source": {"path": str(checkpoint)},
                "formats": ["okay", "human", "plain", "archangel", *dict.fromkeys([chat, "own"])],
            },
            "sft": {
                "method": "sft",
                "from": "base",
                "data": "answers",
                "train_format": chat,
                "formats": ["human", "okay", *dict.fromkeys([chat, "own"])],
                "max_length": 256,
                "batch_size": 8,
                "learning_rate": 1e-3,
                "dtype": "float32",
                "log_every": 1,
                "save_every": 1,
            },
        },
        "formats": formats,
        "prompts": {"factual": "prompts/nano-smoke-factual.yaml"},
        "generation": {"temperatures": ["0.5", "1.0"], "completions": 3, "max_new_tokens": 16},
        "measures": {"diversity": {"metrics": ["self_bleu", "mean_length", "leak_rate"], "controlled_completions": 0}},
        "analysis": {"resamples": 200, "across_formats": {"paper": {"base": "okay", "sft": "human"}}},
    }


def project(directory: Path, family: str) -> Project:
    checkpoint = {"llama": save_llama, "neox": save_neox}[family](directory / "checkpoint")
    made = make_project(directory / "project", study=f"formats-{family}")
    path = made.root / "config" / "studies" / f"{made.study}.yaml"
    path.write_text(yaml.safe_dump(study(checkpoint, family), sort_keys=False))
    return made


@pytest.mark.slow  # test_real_models goes through the formats as well
@pytest.mark.parametrize("family", ["neox", "llama"])
def test_every_format_goes_from_a_checkpoint_to_tables_and_figures(tmp_path: Path, family: str) -> None:
    made = project(tmp_path, family)
    drawn = ["attribution", "attribution+human", "samples_tiny+human", "self_bleu_cosine_tiny+plain", "format_effect"]
    drawn = drawn if family == "llama" else drawn[-1:]  # figures know nothing of families
    made.run("tables", *(str(made.result(f"figures/{name}.svg").relative_to(made.root)) for name in drawn))
    chat = "chat" if family == "llama" else "own"
    curves = read_sealed(made.result("tables/curves.parquet")).to_pandas()
    measured = curves.groupby("stage")["format"].unique()
    assert set(measured["base"]) == {"okay", "human", "plain", "archangel", chat, "own"}
    attribution = read_sealed(made.result("tables/attribution.parquet")).to_pandas()
    assert set(attribution["format"]) == {"paper", "okay", "human", chat, "own"}
    paper = attribution[attribution["format"] == "paper"]
    assert set(zip(paper["format_before"], paper["format_after"], strict=True)) == {("okay", "human")}
    effects = read_sealed(made.result("tables/format_effect.parquet")).to_pandas()
    effects = effects[(effects["step"] == "base>sft") & (effects["within"].isin(["both", ""]))]
    parts = effects.pivot_table("delta", ["metric", "temperature", "words", "definition"], "effect")
    assert len(parts) > 0
    assert (parts["stage"] + parts["format"]).tolist() == pytest.approx(parts["apparent"].tolist(), abs=1e-12)
    cell = read_metadata(made.result(f"generations/tiny/s0/sft/factual/{chat}/T1.0.parquet"))
    assert json.loads(cell["markers"]) == (
        ["[INST]", "[/INST]"] if family == "llama" else ["<|user|>", "<|assistant|>"]
    )
    assert made.plan("tables") == []
    # A further format of one stage: its cells are new, those that exist are left alone.
    before = {path: path.stat().st_ino for path in made.result("generations").rglob("*.parquet")}
    made.edit_study("- human\n    - okay\n", "- human\n    - okay\n    - qa\n")
    jobs = made.plan()
    assert [job for job in jobs if job.startswith(("train", "generate"))] == [
        job for job in jobs if job.startswith("generate") and job.endswith("tiny/s0/sft") and "qa" in job
    ]
    made.run("generations")
    assert before == {path: path.stat().st_ino for path in before}
    assert len(list(made.result("generations").rglob("*.parquet"))) == len(before) + 2


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (None, ["stages.base.formats (tiny/s0/base)", "has no chat template", "'chat'", "Nothing was started"]),
        ("{{ raise_exception('No.') }}", ["cannot be rendered", "'chat'", "TemplateError: No."]),
        pytest.param("{{ messages | length }}", ["leaves the prompt", "'chat'"], marks=pytest.mark.slow),
    ],
)
def test_a_model_that_cannot_chat_is_one_clear_error(tmp_path: Path, template: str | None, words: list[str]) -> None:
    made = project(tmp_path, "llama")
    save_llama(tmp_path / "checkpoint", chat_template=template)
    if template is None:
        (tmp_path / "checkpoint" / "chat_template.jinja").unlink(missing_ok=True)
    cell = made.result("generations/tiny/s0/base/factual/chat/T1.0.parquet").relative_to(made.root)
    printed = made.run(str(cell), succeeds=False)
    assert all(word in printed for word in words), printed
    assert "Traceback" not in printed
