"""`download` resolves, locks and fetches what a study needs of the hub, and says what to do where it cannot."""

import logging
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import save

from modecollapse.errors import StudyError
from modecollapse.hub import Kind, Lock, Needed, Revision, add_to_lock, lock_path, read_lock
from modecollapse.jobs.data import files_of
from modecollapse.jobs.downloading import download, require_downloads
from modecollapse.snapshots import snapshot
from modecollapse.study import Study, parse_study
from tests import pretend_hub
from tests.pretend_hub import PretendHub, Repository

CONFIG = Path(__file__).parents[2] / "config"
NAME = "someone/tiny-model"


def tensors(value: float = 0.0) -> bytes:
    """A safetensors file with one tensor."""
    return save({"a": np.array([value])})


def gguf(architecture: str = "llama") -> bytes:
    """The beginning of a GGUF file, as far as it is read before a job starts."""
    key, name = b"general.architecture", architecture.encode()
    lengths = struct.pack("<Q", len(key)), struct.pack("<IQ", 8, len(name))
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + lengths[0] + key + lengths[1] + name


MODEL = {
    "config.json": b"{}",
    "tokenizer.json": b"{ }",
    "README.md": b"# Tiny",
    "model.safetensors": tensors(),
    "pytorch_model.bin": b"pickle",
    "tf_model.h5": b"other",
    "flax_model.msgpack": b"other",
    "onnx/model.onnx": b"other",
}
OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendHub]:
    with PretendHub().running() as hub:
        pretend_hub.use(monkeypatch, cache, hub)
        yield hub


def study_of(directory: Path, source: dict[str, Any] | None = None, **stages: Any) -> Study:
    content = {
        "title": "One checkpoint",
        "models": {"tiny": {}},
        "stages": {"base": {"method": "checkpoint", "source": source or {"hub": NAME}}, **stages},
        "prompts": {"factual": "prompts/nano-factual.yaml"},
        "generation": {"temperatures": [1.0]},
    }
    directory.mkdir(exist_ok=True)
    file = directory / "own.yaml"
    file.write_text(yaml.safe_dump(content))
    return parse_study(content, "own", file, CONFIG, directory / "results")


def again(study: Study) -> Study:
    """The study as the next command reads it."""
    return replace(study, lock=read_lock(lock_path(study.file)))


def test_a_revision_is_resolved_locked_and_fetched(hub: PretendHub, tmp_path: Path) -> None:
    commit = hub.repository(NAME).push(MODEL)
    study = study_of(tmp_path)
    said = download(study)
    assert f"{NAME}@main: commit {commit}" in said
    lock = lock_path(study.file)
    assert lock.name == "own.lock.yaml"
    assert lock.read_text().startswith("# Written by `snakemake download --config study=")
    assert yaml.safe_load(lock.read_text()) == {"models": {NAME: {"main": commit}}}
    revision = study.revisions()[0]
    found = snapshot(study.needed()[0], read_lock(lock).commit(revision), "own")
    assert {path.name for path in found.iterdir()} == {"config.json", "tokenizer.json", "model.safetensors"}
    assert (found / "model.safetensors").read_bytes() == tensors()


def test_pickled_weights_are_fetched_only_where_there_are_no_safetensors(hub: PretendHub, tmp_path: Path) -> None:
    index = b'{"weight_map": {"a": "pytorch_model-1.bin", "b": "pytorch_model-2.bin"}}'
    hub.repository(NAME).push(
        {
            "config.json": b"{}",
            "tokenizer.json": b"{ }",
            "pytorch_model.bin.index.json": index,
            "pytorch_model-1.bin": b"1",
            "pytorch_model-2.bin": b"2",
            "pytorch_model-3.bin": b"not in the index",
            "training_args.bin": b"code",
        }
    )
    download(study_of(tmp_path))
    assert sorted(hub.downloads()) == [
        "config.json", "pytorch_model-1.bin", "pytorch_model-2.bin", "pytorch_model.bin.index.json", "tokenizer.json",
    ]  # fmt: skip


def test_of_a_repository_of_gguf_files_only_the_named_one_is_fetched(hub: PretendHub, tmp_path: Path) -> None:
    hub.repository(NAME).push({"tiny.Q4_0.gguf": gguf(), "tiny.Q8_0.gguf": gguf(), "config.json": b"{}"})
    download(study_of(tmp_path, {"hub": NAME, "gguf": "{size}.Q4_0.gguf"}))
    assert hub.downloads() == ["tiny.Q4_0.gguf"]
    (tmp_path / "other").mkdir()
    with pytest.raises(StudyError, match=r"has no file tiny\.gguf\. It holds tiny\.Q4_0\.gguf, tiny\.Q8_0\.gguf"):
        download(study_of(tmp_path / "other", {"hub": NAME, "gguf": "tiny.gguf"}))


def test_an_adapter_is_fetched_with_its_configuration(hub: PretendHub, tmp_path: Path) -> None:
    hub.repository(NAME).push(MODEL)
    hub.repository("someone/adapter").push(
        {
            "adapter_config.json": b'{"peft_type": "LORA"}',
            "adapter_model.safetensors": tensors(),
            "adapter_model.bin": b"B",
            "README.md": b"",
        }
    )
    tuned = {"method": "adapter", "from": "base", "source": {"hub": "someone/adapter"}}
    study = study_of(tmp_path, tuned=tuned)
    assert [str(revision) for revision in study.revisions()] == [f"{NAME}@main", "someone/adapter@main"]
    download(study)
    assert {"adapter_config.json", "adapter_model.safetensors"} <= set(hub.downloads())
    assert "adapter_model.bin" not in hub.downloads()


def test_of_a_data_set_everything_is_fetched_unless_patterns_say_otherwise(
    hub: PretendHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"data/train.parquet": b"1", "data/test.parquet": b"2", "README.md": b"3"}
    hub.repository("someone/data", kind="dataset").push(files)
    revision = Revision(Kind.DATASET, "someone/data", "main")

    base = study_of(tmp_path)
    for patterns, fetched in [(("data/te*.parquet",), {"data/test.parquet"}), ((), set(files))]:
        needed = [Needed(revision, patterns)]
        monkeypatch.setattr(Study, "needed", lambda study, needed=needed: needed)
        download(again(base))
        commit = read_lock(lock_path(base.file)).commit(revision)
        found = snapshot(needed[0], commit, "own")
        assert set(pretend_hub.files_of(found)) == fetched
    assert "datasets:" in lock_path(base.file).read_text()


def test_a_second_download_fetches_nothing_and_leaves_the_lock_alone(hub: PretendHub, tmp_path: Path) -> None:
    hub.repository(NAME).push(MODEL)
    study = study_of(tmp_path)
    download(study)
    before = lock_path(study.file).stat().st_mtime_ns
    hub.requests.clear()
    download(again(study))
    assert hub.downloads() == []
    assert lock_path(study.file).stat().st_mtime_ns == before


def test_a_branch_that_has_moved_is_reported_and_not_followed(hub: PretendHub, tmp_path: Path) -> None:
    repository = hub.repository(NAME)
    old = repository.push(MODEL)
    study = study_of(tmp_path)
    download(study)
    new = repository.push({**MODEL, "model.safetensors": tensors(1.0)})
    said = download(again(study))
    assert f"{NAME}@main HAS MOVED" in said
    assert old in said
    assert new in said
    assert "delete its line in" in said
    lock = lock_path(study.file)
    assert read_lock(lock).commits == {study.revisions()[0]: old}
    lock.write_text("".join(line for line in lock.read_text().splitlines(True) if "main:" not in line))
    assert read_lock(lock).commits == {}
    assert "HAS MOVED" not in download(again(study))
    assert read_lock(lock).commits == {study.revisions()[0]: new}


def test_a_branch_that_is_gone_is_reported_and_its_commit_kept(hub: PretendHub, tmp_path: Path) -> None:
    repository = hub.repository(NAME)
    old = repository.push(MODEL)
    study = study_of(tmp_path)
    download(study)
    del repository.branches["main"]
    assert "IS NO LONGER ON THE HUB" in download(again(study))
    del repository.commits[old]
    with pytest.raises(StudyError, match=f"no longer has the locked commit {old}"):
        download(again(study))


def test_a_commit_is_a_revision_like_any_other(hub: PretendHub, tmp_path: Path) -> None:
    commit = hub.repository(NAME).push(MODEL)
    study = study_of(tmp_path, {"hub": NAME, "revision": commit})
    assert commit in download(study)
    assert read_lock(lock_path(study.file)).commits == {study.revisions()[0]: commit}


def _gated(hub: PretendHub) -> Repository:
    repository = hub.repository(NAME, gated=True)
    repository.push(MODEL)
    return repository


def test_a_gated_model_without_a_token_names_the_page_and_the_variable(hub: PretendHub, tmp_path: Path) -> None:
    _gated(hub)
    with pytest.raises(StudyError, match=rf"gated, and no token is set.*huggingface\.co/{NAME}.*HF_TOKEN"):
        download(study_of(tmp_path))


def test_a_gated_model_with_a_token_without_access_says_so_without_the_token(
    hub: PretendHub, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _gated(hub)
    pretend_hub.use(monkeypatch, cache, hub, token="hf_secretOfSomebody")
    with caplog.at_level(logging.DEBUG), pytest.raises(StudyError, match="has no access") as caught:
        download(study_of(tmp_path))
    assert "hf_secret" not in str(caught.value) + caplog.text
    pretend_hub.use(monkeypatch, cache, hub, token=hub.token)
    assert "1 of 1" in download(again(study_of(tmp_path)))


@pytest.mark.parametrize(
    ("status", "word"), [(401, "does not know the token"), (403, "Accept its licence"), (429, "429"), (418, "418")]
)
def test_a_refusal_is_one_message_without_the_token(
    hub: PretendHub,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: int,
    word: str,
) -> None:
    pretend_hub.use(monkeypatch, cache, hub, token="hf_secretOfSomebody")
    hub.repository(NAME).push(MODEL)
    hub.status = status
    with caplog.at_level(logging.DEBUG), pytest.raises(StudyError) as caught:
        download(study_of(tmp_path))
    assert word in str(caught.value) or (status == 401 and "may not see it" in str(caught.value))
    assert "hf_secret" not in str(caught.value) + caplog.text
    assert caught.value.__cause__ is None


def test_a_token_that_cannot_be_one_is_refused_and_not_shown(
    hub: PretendHub, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_hub.use(monkeypatch, cache, hub, token="hf_secret\u00fcOfSomebody")
    with pytest.raises(StudyError, match="characters that no token has") as caught:
        download(study_of(tmp_path))
    assert "hf_secret" not in str(caught.value)


def test_a_repository_and_a_revision_that_do_not_exist_are_each_named(hub: PretendHub, tmp_path: Path) -> None:
    hub.repository(NAME).push(MODEL)
    other = {"method": "checkpoint", "source": {"hub": "someone/else"}}
    with pytest.raises(StudyError) as caught:
        download(study_of(tmp_path, {"hub": NAME, "revision": "step1"}, other=other))
    first, second = str(caught.value).split("\n\n")
    assert f"{NAME}@step1: the repository has no such branch, tag or commit" in first
    assert "someone/else@main: there is no such model on the hub, or it is private and HF_TOKEN is not set" in second


def test_what_can_be_had_is_locked_and_fetched_although_something_else_cannot(hub: PretendHub, tmp_path: Path) -> None:
    commit = hub.repository(NAME).push(MODEL)
    study = study_of(tmp_path, other={"method": "checkpoint", "source": {"hub": "someone/else"}})
    with pytest.raises(StudyError, match="someone/else"):
        download(study)
    assert list(read_lock(lock_path(study.file)).commits.values()) == [commit]
    assert "model.safetensors" in hub.downloads()


def test_a_repository_without_weights_is_refused(hub: PretendHub, tmp_path: Path) -> None:
    hub.repository(NAME).push({"config.json": b"{}", "consolidated.00.pth": b"x"})
    with pytest.raises(StudyError, match=r"no weights of a kind that is read.*It holds config\.json, consolidated"):
        download(study_of(tmp_path))


def test_a_hub_that_cannot_be_reached_is_one_message(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = PretendHub()
    with hub.running():
        pass  # nobody listens there any more
    pretend_hub.use(monkeypatch, cache, hub)
    with pytest.raises(StudyError, match=f"{NAME}@main: the hub cannot be reached.*where there is a network"):
        download(study_of(tmp_path))


def test_offline_a_revision_is_locked_from_the_cache_and_nothing_is_fetched(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_hub.use(monkeypatch, cache)
    study = study_of(tmp_path)
    with pytest.raises(StudyError, match=r"not known in the hub's cache.*HF_HUB_OFFLINE is set.*HF_HUB_OFFLINE=0"):
        download(study)
    commit = pretend_hub.cache_repository(cache, NAME, MODEL)
    assert commit in download(study)
    assert read_lock(lock_path(study.file)).commits == {study.revisions()[0]: commit}
    other = pretend_hub.cache_repository(cache, NAME, {**MODEL, "config.json": b"{ }"})
    assert f"now:    {other}" in download(again(study))


def test_what_was_downloaded_for_one_study_can_be_locked_offline_for_another(
    hub: PretendHub, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hub.repository(NAME).push(MODEL)
    download(study_of(tmp_path / "a"))
    pretend_hub.use(monkeypatch, cache)
    assert commit in download(study_of(tmp_path / "b"))


def test_offline_weights_that_are_not_in_the_cache_are_missed(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_hub.use(monkeypatch, cache)
    index = b'{"weight_map": {"a": "model-1.safetensors"}}'
    pretend_hub.cache_repository(cache, NAME, {"config.json": b"{}", "model.safetensors.index.json": index})
    with pytest.raises(StudyError, match=r"lacks model-1\.safetensors"):
        download(study_of(tmp_path))


def test_a_run_needs_what_is_not_locked_or_not_fetched_yet(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_hub.use(monkeypatch, cache)
    study = study_of(tmp_path)
    with pytest.raises(StudyError, match=rf"no commit is locked.*snakemake download --config study={study.file}`"):
        require_downloads(study, study.needed())
    locked = replace(study, lock=Lock(study.lock.file, {study.revisions()[0]: OLD}))
    with pytest.raises(StudyError, match=rf"commit {OLD} is not in the hub's cache.*snakemake download"):
        require_downloads(locked, study.needed())
    commit = pretend_hub.cache_repository(cache, NAME, MODEL)
    require_downloads(replace(study, lock=Lock(study.lock.file, {study.revisions()[0]: commit})), study.needed())


def rows(name: str) -> bytes:
    return "".join(f'{{"text": "{name} {number}"}}\n' for number in range(10)).encode()


PARTS = {f"data/train-{part:05}-of-00003.jsonl": rows(str(part)) for part in range(3)}


def data_study(directory: Path, **data: Any) -> Study:
    """A study of a data set of the hub, and of a local model."""
    study = study_of(directory, {"path": "somewhere"})
    content = yaml.safe_load(study.file.read_text())
    content |= {"data": {"texts": {"source": {"hub": NAME}, **data}}, "measures": {"tokens": {"data": "texts"}}}
    study.file.write_text(yaml.safe_dump(content))
    return again(parse_study(content, "own", study.file, CONFIG, directory / "results"))


def test_a_download_that_was_killed_after_its_first_file_is_neither_complete_nor_read(
    hub: PretendHub, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    hub.repository(NAME, kind="dataset").push(PARTS)
    study = data_study(tmp_path)

    def killed(
        *args: Any, allow_patterns: list[str], fetch: Any = huggingface_hub.snapshot_download, **more: Any
    ) -> Any:
        fetch(*args, allow_patterns=allow_patterns[:1], **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(huggingface_hub, "snapshot_download", killed)
        with pytest.raises(KeyboardInterrupt):
            download(study)
    study = again(study)
    lacks = (
        rf"{NAME}@main: commit [0-9a-f]+ is not complete.* lacks data/train-00001-of-00003.jsonl, data/train-00002.*"
    )
    with pytest.raises(StudyError, match=lacks + "Run `snakemake download --config study="):
        require_downloads(study, study.needed())
    with pytest.raises(StudyError, match=lacks):
        files_of(study, "texts")
    with monkeypatch.context() as patch:
        pretend_hub.use(patch, cache)
        with pytest.raises(StudyError, match=lacks + "HF_HUB_OFFLINE=0"):
            download(study)
    assert "1 of 1" in download(study)
    require_downloads(study, study.needed())
    assert [file.name for file in files_of(study, "texts")] == [Path(name).name for name in PARTS]


def test_what_was_fetched_for_other_files_of_a_repository_is_not_complete(hub: PretendHub, tmp_path: Path) -> None:
    hub.repository(NAME, kind="dataset").push(PARTS)
    first = data_study(tmp_path, files="data/train-00000*")
    download(first)
    require_downloads(again(first), first.needed())
    whole = data_study(tmp_path)
    with pytest.raises(StudyError, match=r"lacks data/train-00001-of-00003\.jsonl, data/train-00002"):
        require_downloads(whole, whole.needed())
    hub.repository(NAME).push({**MODEL, "tiny.gguf": gguf()})
    other = tmp_path / "other"
    download(study_of(other, {"hub": NAME, "gguf": "tiny.gguf"}))
    model = again(study_of(other))
    with pytest.raises(StudyError, match=r"lacks config\.json, tokenizer\.json"):
        require_downloads(model, model.needed())


def test_a_tokenizers_file_that_vanished_and_one_that_was_cut_off_are_missed_and_fetched_again(
    hub: PretendHub, tmp_path: Path
) -> None:
    hub.repository(NAME).push({**MODEL, "tokenizer_config.json": b'{"chat_template": "x"}'})
    study = study_of(tmp_path)
    download(study)
    study = again(study)
    directory = snapshot(study.needed()[0], study.lock.commit(study.revisions()[0]), "own")
    (directory / "tokenizer_config.json").unlink()
    (directory / "tokenizer.json").write_bytes(b"{")
    with pytest.raises(StudyError, match=r"lacks tokenizer\.json, tokenizer_config\.json"):
        require_downloads(study, study.needed())
    download(study)
    require_downloads(study, study.needed())
    assert (directory / "tokenizer.json").read_bytes() == b"{ }"


def test_a_cache_without_the_list_of_a_commits_files_is_made_whole_by_one_download_with_a_network(
    hub: PretendHub, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repository(NAME).push(MODEL)
    pretend_hub.cache_repository(cache, NAME, MODEL, listed=False)
    study = study_of(tmp_path)
    with monkeypatch.context() as patch:
        pretend_hub.use(patch, cache)
        with pytest.raises(StudyError, match=r"but not the list of them.*HF_HUB_OFFLINE=0"):
            download(study)
        with pytest.raises(StudyError, match=r"but not the list of them.*Run `snakemake download"):
            require_downloads(again(study), study.needed())
    assert "1 of 1" in download(again(study))
    assert hub.downloads() == []
    require_downloads(again(study), study.needed())


UNUSABLE = {
    "code of its own": (
        {"config.json": b'{"model_type": "own", "auto_map": {"AutoModel": "own.Own"}}'},
        "no remote code is ever run: .* of the type 'own'",
    ),
    "no tokenizer": ({"tokenizer.json": None}, "has no tokenizer"),
    "a broken configuration": ({"config.json": b"{"}, r"config\.json cannot be read"),
    "weights that were cut off": ({"model.safetensors": tensors()[:-1]}, r"model\.safetensors cannot be read"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_model_that_can_never_be_used_is_refused_by_the_download_and_before_any_job(
    hub: PretendHub, tmp_path: Path, case: str
) -> None:
    changes, word = UNUSABLE[case]
    hub.repository(NAME).push({name: data for name, data in {**MODEL, **changes}.items() if data is not None})
    study = study_of(tmp_path)
    with pytest.raises(StudyError, match=rf"stages\.base\.source \({NAME}@main\): .*{word}.*name another repository"):
        download(study)
    study = again(study)
    with pytest.raises(StudyError, match=word):
        require_downloads(study, study.needed())


def test_a_model_that_once_had_code_of_its_own_is_used_where_its_type_is_known_now(
    hub: PretendHub, tmp_path: Path
) -> None:
    config = b'{"model_type": "llama", "auto_map": {"AutoModelForCausalLM": "own.Own"}}'
    hub.repository(NAME).push({**MODEL, "config.json": config})
    assert "1 of 1" in download(study_of(tmp_path))


def test_adapters_and_gguf_files_that_can_never_be_used_are_refused_by_the_download(
    hub: PretendHub, tmp_path: Path
) -> None:
    hub.repository(NAME).push({**MODEL, "a.gguf": b"hello"})
    hub.repository("someone/adapter").push(
        {"adapter_config.json": b'{"peft_type": "IA3"}', "adapter_model.safetensors": tensors()}
    )
    with pytest.raises(StudyError, match=r"stages\.base\.source .*a\.gguf is not a GGUF file"):
        download(study_of(tmp_path / "a", {"hub": NAME, "gguf": "a.gguf"}))
    tuned = {"method": "adapter", "from": "base", "source": {"hub": "someone/adapter"}}
    with pytest.raises(StudyError, match=r"stages\.tuned\.source .*peft_type: found 'IA3'"):
        download(study_of(tmp_path / "b", tuned=tuned))


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ({"split": "test"}, "split: the data set has no 'test'"),
        ({"subset": "other"}, "`datasets` finds no files in the data set"),
        ({"files": "notes.txt"}, r"notes\.txt: its format is not known"),
        ({"columns": {"text": "body"}}, r"data\.texts\.columns: the first row of .* has no 'body'; it has text"),
    ],
)
def test_a_data_set_that_can_never_be_read_is_refused_by_the_download_and_before_any_job(
    hub: PretendHub, tmp_path: Path, data: dict[str, Any], word: str
) -> None:
    hub.repository(NAME, kind="dataset").push({**PARTS, "notes.txt": b"x"})
    study = data_study(tmp_path, **data)
    with pytest.raises(StudyError, match=word):
        download(study)
    study = again(study)
    with pytest.raises(StudyError, match=word):
        require_downloads(study, study.needed())


def test_a_study_without_the_hub_downloads_nothing(tmp_path: Path) -> None:
    assert "needs nothing of the hub" in download(study_of(tmp_path, {"path": "somewhere"}))


def test_a_lock_is_sorted_and_keeps_every_entry_as_it_was(tmp_path: Path) -> None:
    lock = tmp_path / "own.lock.yaml"
    odd = ["1.0", "null", "1e5", "v2", "refs/pr/1", "0123"]
    commits = {Revision(Kind.MODEL, "b/b", revision): "1" * 40 for revision in odd}
    add_to_lock(lock, {**commits, Revision(Kind.DATASET, "a/a", "main"): "1e" + "0" * 38}, "command")
    first = Revision(Kind.MODEL, "a/a", "main")
    add_to_lock(lock, {first: NEW, Revision(Kind.MODEL, "b/b", "v2"): OLD}, "command")
    assert read_lock(lock).commits == {
        **commits, first: NEW, Revision(Kind.DATASET, "a/a", "main"): "1e" + "0" * 38,
    }  # fmt: skip
    assert yaml.safe_load(lock.read_text()) == {
        "models": {"a/a": {"main": NEW}, "b/b": dict.fromkeys(odd, "1" * 40)},
        "datasets": {"a/a": {"main": "1e" + "0" * 38}},
    }
    assert list(yaml.safe_load(lock.read_text())["models"]) == ["a/a", "b/b"]


@pytest.mark.parametrize("text", ["", "\n", "# only the heading\n", "models:\n"])
def test_a_lock_whose_entries_were_all_deleted_is_empty(tmp_path: Path, text: str) -> None:
    (tmp_path / "own.lock.yaml").write_text(text)
    assert study_of(tmp_path).lock.commits == {}


@pytest.mark.parametrize("name", ["a/{sise}", "../..", "a/.b", "a/b--c"])
def test_an_id_that_no_repository_can_have_is_refused_by_the_download_too(
    hub: PretendHub, tmp_path: Path, name: str
) -> None:
    with pytest.raises(StudyError, match=r"hub: found .*Allowed: OWNER/NAME"):
        download(study_of(tmp_path, {"hub": name}))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("modells: {}", "only `models` and `datasets`"),
        ("models: [a]", r"models: found \['a'\]"),
        ("models: {a/b: main}", r"models\.a/b: found 'main'"),
        ("models: {a/b: {main: main}}", r"models\.a/b\.main: found 'main'. Allowed: a full commit of 40"),
        (f"models: {{a/b: {{main: {OLD[:7]}}}}}", "Allowed: a full commit"),
        ("- a", "not a mapping.*Write lines"),
        ("models: {a/b: {main: x}", "not valid YAML"),
    ],
)
def test_a_lock_with_wrong_content_is_refused_before_anything_starts(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "own.lock.yaml").write_text(text)
    with pytest.raises(StudyError, match=rf"own\.lock\.yaml.*{word}"):
        study_of(tmp_path)
