"""Where weights come from: how a study says it, what identifies them, and what is known before a job starts."""

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from modecollapse import file_digests, specs
from modecollapse.cells import Model
from modecollapse.digests import sha256_file
from modecollapse.errors import StudyError
from modecollapse.file_digests import FileDigests
from modecollapse.hub import Kind, Revision
from modecollapse.jobs.models import describe, find_source
from modecollapse.study import Study
from modecollapse.study_files import load_study
from tests import pretend_hub
from tests.gguf_files import write_llama
from tests.tiny_models import save_llama, save_neox

CONFIG = Path(__file__).parents[2] / "config"
BASE = Model("tiny", 0, "base")
TUNED = Model("tiny", 0, "tuned")


def load(directory: Path, source: Any, tuned: dict[str, Any] | None = None, **changes: Any) -> Study:
    content = {
        "title": "One checkpoint",
        "models": {"tiny": {}},
        "stages": {"base": {"method": "checkpoint", "source": source}, **({"tuned": tuned} if tuned else {})},
        "prompts": {"factual": "prompts/nano-factual.yaml"},
        "generation": {"temperatures": [1.0], "max_new_tokens": 5},
        "measures": {"diversity": {"metrics": ["self_bleu"]}},
        **changes,
    }
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "own.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return load_study({"study": str(directory / "own.yaml"), "store": str(directory / "store")}, CONFIG)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({}, ["stages.base.source: found nothing", "exactly one of {hub: …}, {path: …}, {gguf: …}"]),
        ({"hub": "a/b", "path": "c"}, ["stages.base.source: found hub, path", "exactly one of"]),
        ({"path": "c", "gguf": "d"}, ["stages.base.source: found path, gguf", "exactly one of"]),
        ("a/b", ["stages.base.source: found 'a/b'", "exactly one of"]),
        ({"revision": "main"}, ["stages.base.source: found revision", "exactly one of"]),
        ({"hub": "a"}, ["stages.base.source.hub: found 'a'. Allowed: OWNER/NAME"]),
        ({"hub": "a/b", "revison": "c"}, ["stages.base.source.revison: no such key", "Did you mean 'revision'?"]),
        ({"path": ""}, ["stages.base.source.path: found ''"]),
        ({"gguf": "a", "revision": "c"}, ["stages.base.source", "a file of this machine has no `revision`"]),
    ],
)
def test_a_source_that_is_none_or_two_is_refused_by_its_key(tmp_path: Path, source: Any, words: list[str]) -> None:
    with pytest.raises(StudyError) as caught:
        load(tmp_path, source)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "Source" not in str(caught.value)


def test_an_adapter_is_no_gguf_file_and_needs_a_parent(tmp_path: Path) -> None:
    hub = {"hub": "a/b"}
    with pytest.raises(
        StudyError, match=r"stages\.tuned\.source: found gguf\. Allowed: exactly one of {hub: …}, {path"
    ):
        load(tmp_path, hub, {"method": "adapter", "from": "base", "source": {"gguf": "x"}})
    with pytest.raises(StudyError, match=r"stages\.tuned\.from: the method adapter continues another stage"):
        load(tmp_path, hub, {"method": "adapter", "source": hub})
    with pytest.raises(StudyError, match=r"stages\.tuned\.data: the method adapter uses no data"):
        load(tmp_path, hub, {"method": "adapter", "from": "base", "source": hub, "data": "x"})


def test_the_old_way_of_naming_a_directory_is_answered_with_the_new_one(tmp_path: Path) -> None:
    stages = {"base": {"method": "checkpoint", "path": "somewhere"}}
    with pytest.raises(StudyError, match=r"stages\.base\.path: no such key. Allowed: .*source"):
        load(tmp_path, None, stages=stages)


def test_places_are_filled_in_and_sizes_may_differ(tmp_path: Path) -> None:
    other = {"source": {"hub": "else/where", "revision": "step{seed}"}}
    study = load(
        tmp_path,
        {"hub": "someone/tiny-{size}", "revision": "seed{seed}"},
        models={"small": {}, "large": {"stages": {"base": other}}},
        seeds=[1, 2],
    )
    assert study.revisions() == [
        Revision(Kind.MODEL, "someone/tiny-small", "seed1"),
        Revision(Kind.MODEL, "someone/tiny-small", "seed2"),
        Revision(Kind.MODEL, "else/where", "step1"),
        Revision(Kind.MODEL, "else/where", "step2"),
    ]


def test_another_kind_of_source_may_stand_in_one_size(tmp_path: Path) -> None:
    save_neox(tmp_path / "large")
    other = {"source": {"path": str(tmp_path / "{size}")}}
    study = load(tmp_path, {"hub": "a/{size}"}, models={"small": {}, "large": {"stages": {"base": other}}})
    assert [str(revision) for revision in study.revisions()] == ["a/small@main"]
    assert study.local_source(Model("large", 0, "base")) == tmp_path / "large"


def spec_of(study: Study, model: Model = BASE) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(specs.model_spec(study, model))
    return content


def test_a_spec_holds_the_commit_and_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_hub.use(monkeypatch, tmp_path / "cache")
    study = load(tmp_path / "study", {"hub": "a/b", "revision": "v1"})
    common = {"method": "checkpoint", "revision": 1, "settings": {}, "threads": 1}
    assert spec_of(study) == {**common, "source": {"hub": "a/b", "commit": None}}
    (tmp_path / "study" / "own.lock.yaml").write_text(f"models: {{a/b: {{v1: {'c' * 40}}}}}")
    study = load(tmp_path / "study", {"hub": "a/b", "revision": "v1"})
    assert spec_of(study)["source"] == {"hub": "a/b", "commit": "c" * 40}
    study = load(tmp_path / "study", {"hub": "a/b", "revision": "v1", "gguf": "x.gguf"})
    assert spec_of(study)["source"] == {"hub": "a/b", "commit": "c" * 40, "gguf": "x.gguf"}


def test_a_spec_of_local_files_holds_their_digests_as_it_always_has(tmp_path: Path) -> None:
    model = save_neox(tmp_path / "model")
    study = load(tmp_path / "study", {"path": str(model)})
    names = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert spec_of(study) == {
        "files": {name: sha256_file(model / name) for name in names},
        "method": "checkpoint", "revision": 1, "settings": {}, "threads": 1,
    }  # fmt: skip
    file = write_llama(save_llama(tmp_path / "llama"), tmp_path / "tiny.gguf")
    assert spec_of(load(tmp_path / "study", {"gguf": str(file)}))["source"] == {"gguf": sha256_file(file)}


def test_an_adapter_depends_on_its_files_and_not_on_the_seed_or_a_prompt_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_hub.use(monkeypatch, tmp_path / "cache")
    tuned = {"method": "adapter", "from": "base", "source": {"hub": "a/adapter"}}
    study = load(tmp_path, {"hub": "a/b"}, tuned, seeds=[0, 1])
    one, other = (spec_of(study, Model("tiny", seed, "tuned")) for seed in (0, 1))
    assert one == other
    assert set(one) == {"method", "revision", "settings", "threads", "source"}


def test_the_hub_is_found_in_its_cache_under_the_locked_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    pretend_hub.use(monkeypatch, cache)
    files = pretend_hub.files_of(save_neox(tmp_path / "model"))
    study = load(tmp_path / "study", {"hub": "a/b"})
    with pytest.raises(
        StudyError, match=r"a/b@main: no commit is locked.*snakemake download --config study=.*own\.yaml"
    ):
        find_source(study, BASE)
    commit = pretend_hub.cache_repository(cache, "a/b", files)
    (tmp_path / "study" / "own.lock.yaml").write_text(f"models: {{a/b: {{main: {commit}}}}}")
    study = load(tmp_path / "study", {"hub": "a/b"})
    found = find_source(study, BASE)
    assert found == cache / "models--a--b" / "snapshots" / commit
    with pytest.raises(StudyError, match=r"max_new_tokens: 300 tokens do not fit the context of tiny, 256"):
        load(tmp_path / "study", {"hub": "a/b"}, generation={"temperatures": [1.0], "max_new_tokens": 300})


def test_local_sources_that_are_not_complete_are_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "no.gguf").write_bytes(b"PK")
    model = save_neox(tmp_path / "model")
    adapter = {"method": "adapter", "from": "base", "source": {"path": str(tmp_path / "adapter")}}
    for source, tuned, word in [
        ({"path": str(tmp_path / "nowhere")}, None, r"stages\.base\.source .*there is no such directory"),
        ({"gguf": str(tmp_path / "nowhere.gguf")}, None, r"stages\.base\.source .*there is no such file"),
        ({"gguf": str(tmp_path / "no.gguf")}, None, r"stages\.base\.source .*is not a GGUF file"),
        ({"path": str(model)}, adapter, r"stages\.tuned\.source .*has no adapter_config\.json"),
    ]:
        with pytest.raises(StudyError, match=word):
            load(tmp_path / "study", source, tuned)


def adapter_of(directory: Path, **names: Any) -> dict[str, Any]:
    """A stage with an adapter of this machine whose configuration says so of its base."""
    config = {"peft_type": "LORA", "base_model_name_or_path": "org/base", "revision": None, **names}
    directory.mkdir(exist_ok=True)
    (directory / "adapter_config.json").write_text(json.dumps(config))
    (directory / "adapter_model.bin").write_bytes(b"not opened before the job")
    return {"method": "adapter", "from": "base", "source": {"path": str(directory)}}


@pytest.mark.parametrize(
    ("source", "names", "stated", "word"),
    [
        (
            {"hub": "org/other"},
            {},
            None,
            r"stages\.tuned\.from .*org/other@main.*trained on org/base.*trained_on: org",
        ),
        ({"hub": "org/base", "revision": "v1"}, {"revision": "v2"}, None, r"org/base@v1.*trained on org/base@v2"),
        ({"hub": "org/base", "revision": "a" * 40}, {"revision": "b" * 40}, None, r"trained on org/base@b{40}"),
        ({"hub": "org/other-gguf", "gguf": "x.gguf"}, {}, None, r"stages\.tuned\.from .*org/other-gguf@main"),
        (
            {"hub": "org/other"},
            {},
            "org/bass",
            r"tuned\.trained_on .*found 'org/bass'.*names the base 'org/base'",
        ),
        ({"hub": "org/other"}, {"base_model_name_or_path": None}, "org/base", r"names the base None"),
    ],
)
def test_an_adapter_of_other_weights_is_refused_before_anything_starts(
    tmp_path: Path, source: dict[str, str], names: dict[str, Any], stated: str | None, word: str
) -> None:
    tuned = {**adapter_of(tmp_path / "adapter", **names), **({"trained_on": stated} if stated else {})}
    with pytest.raises(StudyError, match=word):
        load(tmp_path / "study", source, tuned)


@pytest.mark.parametrize(
    ("source", "names", "stated"),
    [
        ({"hub": "Org/Base"}, {}, None),
        ({"hub": "org/base", "revision": "v1"}, {"revision": "v1"}, None),
        ({"hub": "org/base", "revision": "a" * 40}, {"revision": "main"}, None),
        ({"hub": "org/base", "revision": "v1"}, {"revision": "a" * 40}, None),
        ({"hub": "org/copy"}, {}, "org/base"),
        ({"hub": "org/copy"}, {"base_model_name_or_path": "org/base-tiny"}, "org/base-{size}"),
        ({"hub": "org/copy"}, {"base_model_name_or_path": "/home/someone/base"}, "/home/someone/base"),
    ],
)
def test_an_adapter_of_the_same_weights_or_of_ones_that_the_study_calls_equal_is_taken(
    tmp_path: Path, source: dict[str, str], names: dict[str, Any], stated: str | None
) -> None:
    tuned = adapter_of(tmp_path / "adapter", **names)
    plain = load(tmp_path / "study", {"hub": "org/base"}, adapter_of(tmp_path / "plain"))
    study = load(tmp_path / "study", source, {**tuned, **({"trained_on": stated} if stated else {})})
    assert describe(study, TUNED) == {"source": tmp_path / "adapter", "remark": None}
    assert spec_of(study, TUNED)["settings"] == spec_of(plain, TUNED)["settings"] == {}


@pytest.mark.parametrize(
    ("source", "base"),
    [({"hub": "org/base"}, "/home/someone/base"), ({"hub": "org/base"}, None), ({"path": "model"}, "org/base")],
)
def test_where_the_base_of_an_adapter_cannot_be_told_the_run_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: dict[str, str], base: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    save_neox(tmp_path / "model")
    tuned = adapter_of(tmp_path / "adapter", base_model_name_or_path=base)
    study = load(tmp_path / "study", source, tuned)
    assert f"cannot be told: its adapter_config.json names the base {base!r}" in describe(study, TUNED)["remark"]
    study = load(tmp_path / "study", {"path": "model"}, adapter_of(tmp_path / "a", base_model_name_or_path="./model"))
    assert describe(study, TUNED)["remark"] is None


def test_a_chat_format_needs_the_template_of_the_tokenizer_that_the_stage_will_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    chatting, plain = save_llama(tmp_path / "chatting"), save_llama(tmp_path / "plain", chat_template=None)

    def tuned(tokenizer: Path | None) -> dict[str, Any]:
        name = tokenizer.name if tokenizer else "none"
        stage = adapter_of(tmp_path / f"adapter-{name}")
        for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            if tokenizer and (tokenizer / file).is_file():
                (tmp_path / f"adapter-{name}" / file).write_bytes((tokenizer / file).read_bytes())
        return {**stage, "formats": ["human", "chat"]}

    load(tmp_path / "study", {"path": "plain"}, tuned(chatting))
    load(tmp_path / "study", {"path": "chatting"}, tuned(None))
    with pytest.raises(StudyError, match=r"stages\.tuned\.formats .*adapter-plain"):
        load(tmp_path / "study", {"path": "chatting"}, tuned(plain))
    with pytest.raises(StudyError, match=r"stages\.tuned\.formats .*plain"):
        load(tmp_path / "study", {"path": "plain"}, tuned(None))
    hub = {"method": "adapter", "from": "base", "source": {"hub": "org/not-here-yet"}, "formats": ["human", "chat"]}
    load(tmp_path / "study", {"path": "plain"}, hub)  # it may bring a tokenizer with a template


def test_an_adapter_of_the_hub_is_compared_with_its_parent_as_soon_as_it_is_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_hub.use(monkeypatch, tmp_path / "cache")
    adapter_of(tmp_path / "adapter")
    tuned = {"method": "adapter", "from": "base", "source": {"hub": "org/adapter"}}
    load(tmp_path / "study", {"hub": "org/other"}, tuned)
    commit = pretend_hub.cache_repository(tmp_path / "cache", "org/adapter", pretend_hub.files_of(tmp_path / "adapter"))
    (tmp_path / "study" / "own.lock.yaml").write_text(f"models: {{org/adapter: {{main: {commit}}}}}")
    with pytest.raises(StudyError, match=r"found base, which is org/other@main.*trained on org/base"):
        load(tmp_path / "study", {"hub": "org/other"}, tuned)


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is large enough to be remembered, and old enough to be believed."""
    monkeypatch.setattr(file_digests, "WORTH_BYTES", 4)
    monkeypatch.setattr(file_digests, "SETTLED_NS", 0)
    file = tmp_path / "large.bin"
    file.write_bytes(b"12345")
    return file


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    read: list[Path] = []
    monkeypatch.setattr(file_digests, "sha256_file", lambda path: (read.append(path), sha256_file(path))[1])
    return read


def test_a_large_file_is_read_once_for_all_plans(large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, record = count_reads(monkeypatch), tmp_path / "store" / "digests.json"
    assert {FileDigests(record).sha256(large) for _ in range(3)} == {sha256_file(large)}
    assert read == [large]
    record.write_text("{")
    assert FileDigests(record).sha256(large) == sha256_file(large)
    assert read == [large] * 2
    assert FileDigests(None).sha256(large) == sha256_file(large)


def test_a_file_that_was_changed_is_read_again_even_with_its_old_time_and_size(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests, stat = FileDigests(tmp_path / "digests.json"), large.stat()
    first = digests.sha256(large)
    time.sleep(0.05)
    large.write_bytes(b"54321")
    os.utime(large, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert FileDigests(tmp_path / "digests.json").sha256(large) == digests.sha256(large) == sha256_file(large) != first


def test_small_and_fresh_files_are_not_remembered_and_a_store_that_cannot_be_written_does_not_matter(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / "digests.json"
    (tmp_path / "small").write_bytes(b"1")
    FileDigests(record).sha256(tmp_path / "small")
    monkeypatch.setattr(file_digests, "SETTLED_NS", 10**12)
    FileDigests(record).sha256(large)
    assert not record.exists()
    monkeypatch.setattr(file_digests, "SETTLED_NS", 0)
    (tmp_path / "file").touch()
    assert FileDigests(tmp_path / "file" / "digests.json").sha256(large) == sha256_file(large)


def test_processes_that_remember_at_once_leave_a_record_that_can_be_read(large: Path, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    files = [tmp_path / f"{number}.bin" for number in range(20)]
    for file in files:
        file.write_bytes(file.name.encode() * 9)
    record = tmp_path / "digests.json"
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda file: FileDigests(record).sha256(file), files))
    assert values == [sha256_file(file) for file in files]
    known = json.loads(record.read_text())
    assert all(re.fullmatch("[0-9a-f]{64}", value) for _, value in known.values())


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ({"hub": "a/{sise}"}, r"hub: found 'a/\{sise\}'\. Allowed: OWNER/NAME.*\{size\} and \{seed\}"),
        ({"hub": "../.."}, r"hub: found '\.\./\.\.'"),
        ({"hub": "a/.b"}, r"hub: found 'a/\.b'"),
        ({"hub": "a/b", "gguf": "c.gguf", "revision": "{sise}"}, r"revision: found '\{sise\}'"),
        *[
            ({"hub": "a/b", "revision": name}, "revision: found")
            for name in ("/etc/hostname", "../x", "a..b", "a b", "-x")
        ],
        ({"path": "{sise}/model"}, r"\{sise\}/model: Snakemake takes what stands in braces for a wildcard"),
    ],
)
def test_names_that_nothing_can_have_are_refused_before_anything_starts(
    tmp_path: Path, source: dict[str, str], word: str
) -> None:
    with pytest.raises(StudyError, match=rf"own\.yaml: stages\.base\.source \(.*\): {word}"):
        load(tmp_path, source)


@pytest.mark.parametrize("revision", ["main", "v1.0", "refs/pr/1", "step{seed}", "v1e5", "feature/x-y_z", "a" * 40])
def test_names_of_revisions_as_git_has_them_are_allowed(tmp_path: Path, revision: str) -> None:
    load(tmp_path, {"hub": "some-one/{size}.v1_b", "revision": revision})


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ({"path": "brace{x}.jsonl"}, r".*brace\{x\}\.jsonl: Snakemake takes what stands in braces.*Rename it"),
        ({"path": "**x/*.jsonl"}, r"\*\*x/\*\.jsonl: .*Correct the pattern"),
        ({"hub": "a/{size}"}, "hub: found"),
        ({"hub": "a/b", "revision": "/etc/hostname"}, "revision: found"),
    ],
)
def test_data_that_cannot_be_read_under_its_name_is_refused_before_anything_starts(
    tmp_path: Path, source: dict[str, str], word: str
) -> None:
    model = save_neox(tmp_path / "model")
    (tmp_path / "brace{x}.jsonl").write_text('{"text": "x"}\n')
    measures = {"tokens": {"data": "texts", "context": 16}, "diversity": {"metrics": ["self_bleu"]}}
    with pytest.raises(StudyError, match=rf"own\.yaml: data\.texts\.source: {word}"):
        load(tmp_path, {"path": str(model)}, data={"texts": {"source": source}}, measures=measures)


def test_benchmarks_in_a_chat_template_that_a_checkpoint_does_not_have_are_refused(tmp_path: Path) -> None:
    measures = {"benchmarks": {"tasks": ["piqa"], "chat_template": ["tuned"]}, "diversity": {"metrics": ["self_bleu"]}}
    tuned = {"method": "dpo", "from": "base", "data": "pairs", "max_length": 100, "max_prompt_length": 50}
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    changes: dict[str, Any] = {"measures": measures, "data": {"pairs": {"source": {"path": "pairs.jsonl"}}}}
    with_template, without = save_llama(tmp_path / "llama"), save_neox(tmp_path / "neox")
    assert load(tmp_path, {"path": str(with_template)}, tuned, **changes)
    with pytest.raises(StudyError) as error:
        load(tmp_path, {"path": str(without)}, tuned, **changes)
    for word in ("own.yaml: measures.benchmarks.chat_template: tuned", f"{without} has no chat template", "Remove"):
        assert word in str(error.value)
