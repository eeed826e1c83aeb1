import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modecollapse.cell_tables import CELL_SCHEMA
from modecollapse.completions import check_completions, read_completions
from modecollapse.completions.npy import read_numeric_dict
from modecollapse.errors import StudyError
from modecollapse.prompt_files import read_prompts

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = Path(os.environ.get("MODECOLLAPSE_PUBLISHED", ROOT.parent / "shared" / "published"))
needs_published = pytest.mark.skipif(
    not PUBLISHED.is_dir(),
    reason=f"the authors' published data is not at {PUBLISHED}; set MODECOLLAPSE_PUBLISHED to its directory",
)
PROMPTS = ["p1", "p2", "p3"]
TEMPERATURES = ["0.5", "1.0"]


def grid(text: Callable[[int, int, int], str] = "t{} p{} s{}".format, shape: tuple[int, ...] = (2, 3, 1)) -> np.ndarray:
    array = np.empty(shape, dtype=object)
    for index in np.ndindex(*shape):
        array[index] = [text(index[0], index[1], sample) for sample in range(4)]
    return array


def npy(path: Path, shape: tuple[int, ...], pickled: bytes) -> Path:
    """An .npy file with a well-formed header for an object array, and `pickled` for its content."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": shape})
        file.write(pickled)
    return path


def saved(path: Path, array: np.ndarray, protocol: int = 3) -> Path:
    return npy(path, array.shape, pickle.dumps(array, protocol=protocol))


def read(path: Path) -> dict[str, pa.Table]:
    return read_completions(path, layout="analyse-llms", prompts=PROMPTS, temperatures=TEMPERATURES)


# The authors' own files


@needs_published
@pytest.mark.parametrize("stage", ["", "-sft", "-dpo"])
@pytest.mark.parametrize(("prompts", "tokens"), [("creative", 70), ("factual", 25)])
def test_every_published_file_gives_fifteen_tables_of_five_hundred_texts(stage: str, prompts: str, tokens: int) -> None:
    temperatures = [f"{tenth / 10:.1f}" for tenth in range(1, 16)]
    ids = read_prompts(ROOT / f"config/prompts/published-{prompts}.yaml", prompts).ids()
    path = PUBLISHED / f"completions/pythia-2.8b{stage}_completions_{prompts}_max_length{tokens}.npy"
    tables = read_completions(path, layout="analyse-llms", prompts=ids, temperatures=temperatures)
    assert list(tables) == temperatures
    for table in tables.values():
        assert table.schema == CELL_SCHEMA
        assert table["prompt"].to_pylist() == [prompt for prompt in ids for _ in range(25)]
        assert table["sample"].to_pylist() == list(range(25)) * 20
        assert all(table["text"].to_pylist())


@needs_published
def test_the_published_factual_completions_stand_in_the_order_of_the_prompt_file() -> None:
    prompts = read_prompts(ROOT / "config/prompts/published-factual.yaml", "factual")
    path = PUBLISHED / "completions/pythia-2.8b-dpo_completions_factual_max_length25.npy"
    temperatures = [f"{tenth / 10:.1f}" for tenth in range(1, 16)]
    tables = read_completions(path, layout="analyse-llms", prompts=prompts.ids(), temperatures=temperatures)
    pairs = [pair for t in tables.values() for pair in zip(t["prompt"].to_pylist(), t["text"].to_pylist(), strict=True)]
    for prompt in prompts.prompts:
        by_prompt = dict.fromkeys(prompts.ids(), 0)
        for other, text in pairs:
            by_prompt[other] += any(answer.lower() in text.lower() for answer in prompt.answers)
        assert by_prompt[prompt.id] > 0, prompt.id
        # The answer "France" is more common still where the questions are about France.
        leader = max(by_prompt, key=by_prompt.__getitem__)
        assert leader == ("factual-17" if prompt.id == "factual-08" else prompt.id)


@needs_published
@pytest.mark.parametrize("stage", ["", "-sft", "-dpo"])
def test_the_published_results_are_dictionaries_of_float32(stage: str) -> None:
    results = read_numeric_dict(PUBLISHED / f"results/pythia-2.8b{stage}_results_20_words.npy")
    assert set(results) == {"creative", "factual"}
    for metrics in results.values():
        assert len(metrics) == 20
        assert {(array.dtype.str, array.shape) for array in metrics.values()} == {("<f4", (15, 20, 1))}


# The .npy layout


@pytest.mark.parametrize("protocol", [3, 4])
def test_an_npy_grid_becomes_one_table_per_temperature(tmp_path: Path, protocol: int) -> None:
    tables = read(saved(tmp_path / "a.npy", grid(), protocol))
    assert list(tables) == TEMPERATURES
    assert tables["1.0"].schema == CELL_SCHEMA
    row = {"prompt": "p2", "sample": 1, "text": "t1 p1 s1", "finish_reason": "unknown", "n_tokens": None}
    assert tables["1.0"].slice(5, 1).to_pylist() == [{**row, "log_probs": None}]


CLEAN_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(CLEAN_TEXT, min_size=4, max_size=4))
def test_any_unicode_text_comes_back_as_it_was(tmp_path: Path, texts: list[str]) -> None:
    table = read(saved(tmp_path / "a.npy", grid(lambda t, p, s: texts[s]), 4))["0.5"]
    assert table["text"].to_pylist() == texts * 3


class Calls:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def _nested_npy(canary: Path) -> bytes:
    inner = canary.with_suffix(".npy")
    np.save(inner, np.array([Calls(os.system, f"touch {canary}")], dtype=object), allow_pickle=True)
    return pickle.dumps(Calls(np.load, str(inner), None, True), 3)


def _hidden_in_grid(canary: Path) -> bytes:
    array = grid()
    array[1, 2, 0] = Calls(os.system, f"touch {canary}")
    return pickle.dumps(array, 3)


EVIL: dict[str, Callable[[Path], bytes]] = {
    "os.system": lambda canary: pickle.dumps(Calls(os.system, f"touch {canary}"), 3),
    "os.system, protocol 0": lambda canary: pickle.dumps(Calls(os.system, f"touch {canary}"), 0),
    "os.system, protocol 5": lambda canary: pickle.dumps(Calls(os.system, f"touch {canary}"), 5),
    "os.system in a good grid": _hidden_in_grid,
    "eval": lambda canary: pickle.dumps(Calls(eval, f"open({str(canary)!r}, 'w').close()"), 4),
    "exec": lambda canary: pickle.dumps(Calls(exec, f"open({str(canary)!r}, 'w').close()"), 3),
    "numpy.load": _nested_npy,
    "INST": lambda canary: b"(S'touch %s'\nios\nsystem\n." % bytes(canary),
    "OBJ": lambda canary: b"(cos\nsystem\nS'touch %s'\no." % bytes(canary),
    "NEWOBJ": lambda canary: b"\x80\x02cpathlib\nPath\nS'%s'\n\x85\x81." % bytes(canary),
}


@pytest.mark.parametrize("name", EVIL)
def test_a_pickle_that_runs_code_is_refused_and_nothing_runs(tmp_path: Path, name: str) -> None:
    canary = tmp_path / "canary"
    path = npy(tmp_path / "evil.npy", (2, 3, 1), EVIL[name](canary))
    for reader in (read, read_numeric_dict):
        with pytest.raises(StudyError, match=r"evil\.npy holds a pickle (with|that).*Allowed: "):
            reader(path)
    assert not canary.exists()


@pytest.mark.parametrize("name", [name for name in EVIL if name != "NEWOBJ"])
def test_the_same_pickle_does_run_code_in_pythons_own_machine(tmp_path: Path, name: str) -> None:
    canary = tmp_path / "canary"
    pickle.loads(EVIL[name](canary))  # the control: the payloads above are live
    assert canary.exists()


@pytest.mark.parametrize(
    "pickled",
    [
        pytest.param(b"\x80\x02\x82\x01)R.", id="extension registry"),
        pytest.param(b"Pos.system\n.", id="persistent id"),
        pytest.param(b"\x80\x04\x8c\x05numpy\x94\x8c\x0btesting.run\x94\x93)R.", id="dotted name"),
        pytest.param(b"\x80\x04K\x01K\x02\x93.", id="global named by numbers"),
        pytest.param(
            b"\x80\x03cnumpy.core.multiarray\n_reconstruct\ncnumpy\ndtype\nK\x00\x85C\x01b\x87R.", id="another class"
        ),
        pytest.param(b"\x80\x03cnumpy\nndarray\nK\x01\x85R.", id="ndarray called"),
        pytest.param(b"\x80\x03cnumpy\nndarray\n}b.", id="state of a global"),
        pytest.param(b"\x80\x03cnumpy\nndarray\n.", id="only a global"),
        pytest.param(b"\x80\x03(.", id="open mark"),
        pytest.param(b"\x80\x03e.", id="empty stack"),
        pytest.param(b"\x80\x03K\x00h\x07.", id="empty memo"),
        pytest.param(b"\x80\x03]r\xff\xff\xff\xff.", id="memo index of four thousand million"),
        pytest.param(b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fx.", id="string longer than any memory"),
        pytest.param(b"\x80\x03]q\x00h\x00a.", id="a list that contains itself"),
        pytest.param(b"\x80\x03]q\x00]h\x00ah\x00a.", id="a list in two places"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_an_odd_pickle_is_refused(tmp_path: Path, pickled: bytes) -> None:
    path = npy(tmp_path / "odd.npy", (2, 3, 1), pickled)
    for reader in (read, read_numeric_dict):
        with pytest.raises(StudyError, match=r"odd\.npy holds "):
            reader(path)


def _nested(element: Any) -> np.ndarray:
    array = grid()
    array[1, 0, 0] = element
    return array


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros((2, 3, 1)), "a numpy array of type '<f8'"),
        (np.array([["a"]]), "a numpy array of type '<U1'"),
        (np.zeros(3, dtype=[("x", int)]), "a structured type"),
        (np.array({"a": 1}, dtype=object), "opcode EMPTY_DICT"),
        (np.asfortranarray(grid()), "Fortran order"),
        (grid(shape=(3, 3, 1)), r"shape \(3, 3, 1\)\. Allowed: shape \(2, 3, 1\)"),
        (grid(shape=(3, 2, 1)), r"shape \(3, 2, 1\)"),
        (grid(shape=(2, 3, 1))[:, :, 0], r"shape \(2, 3\)"),
        (_nested(["a"]), "between 1 and 4 completions"),
        (_nested([]), "between 0 and 4 completions"),
        (_nested("a text"), r"a value of type str as element \(1, 0, 0\)"),
        (_nested(None), r"nothing as element \(1, 0, 0\)"),
        (_nested(["a", 1, "b", "c"]), "a list with a value of type int"),
        (_nested(["a", b"b", "b", "c"]), "a list with a value of type bytes"),
        (_nested(["a", ["b"], "b", "c"]), "a list with a value of type list"),
        (_nested(["a", 0.5, "b", "c"]), "opcode BINFLOAT"),
        (_nested(["a", "b", "c", "x\0"]), "a NUL character in sample 3 of 'p1' at temperature 1.0"),
        (_nested(["a", "b\ud800", "c", "d"]), "half a surrogate pair in sample 1 of 'p1' at temperature 1.0"),
        (_nested(np.zeros(3)), "a numpy array of type 'f8'"),
    ],
)
def test_an_npy_file_that_holds_something_else_is_refused(tmp_path: Path, array: np.ndarray, found: str) -> None:
    np.save(tmp_path / "other.npy", array, allow_pickle=True)
    with pytest.raises(StudyError, match=rf"other\.npy holds (?s:.)*{found}"):
        read(tmp_path / "other.npy")


def test_a_header_that_disagrees_with_its_pickle_is_refused(tmp_path: Path) -> None:
    path = npy(tmp_path / "a.npy", (2, 3, 1), pickle.dumps(grid(shape=(3, 2, 1)), 3))
    with pytest.raises(StudyError, match=r"shape \(3, 2, 1\) under a header that says \(2, 3, 1\)"):
        read(path)


def test_a_shape_that_its_elements_do_not_fill_is_refused(tmp_path: Path) -> None:
    pickled = pickle.dumps(grid(), 3)
    path = npy(tmp_path / "a.npy", (2, 255, 1), pickled.replace(b"K\x02K\x03K\x01\x87", b"K\x02K\xffK\x01\x87", 1))
    with pytest.raises(StudyError, match="whose elements are not 510 in number"):
        read(path)


def test_bytes_after_the_end_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npy", grid())
    path.write_bytes(path.read_bytes() + pickle.dumps("more"))
    with pytest.raises(StudyError, match="bytes after the end of its pickle"):
        read(path)


def test_a_truncated_npy_file_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npy", grid())
    whole = path.read_bytes()
    for end in [*range(0, 300), *range(300, len(whole), 7), len(whole) - 1]:
        path.write_bytes(whole[:end])
        with pytest.raises(StudyError, match=r"a\.npy holds "):
            read(path)


def test_a_flipped_bit_is_refused_or_changes_texts_only(tmp_path: Path) -> None:
    whole = saved(tmp_path / "a.npy", grid()).read_bytes()
    path, refused, generator = tmp_path / "b.npy", 0, random.Random(0)
    for _ in range(600):
        position = generator.randrange(len(whole))
        flipped = bytearray(whole)
        flipped[position] ^= 1 << generator.randrange(8)
        path.write_bytes(flipped)
        try:
            tables = read(path)
        except StudyError:
            refused += 1
        else:
            assert [table.num_rows for table in tables.values()] == [12, 12]
    assert refused > 100


def test_a_missing_file_is_named_with_what_lies_beside_it(tmp_path: Path) -> None:
    saved(tmp_path / "there.npy", grid())
    with pytest.raises(StudyError, match=r"gone\.npy does not exist; .* holds there\.npy"):
        read(tmp_path / "gone.npy")
    with pytest.raises(StudyError, match=r"is a directory; .* holds there\.npy"):
        read(tmp_path)
    with pytest.raises(StudyError, match="nor does"):
        read(tmp_path / "no" / "gone.npy")


def test_checking_raises_what_reading_would(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npy", grid())
    check_completions(path, layout="analyse-llms", prompts=PROMPTS, temperatures=TEMPERATURES)
    with pytest.raises(StudyError, match=r"Allowed: shape \(1, 3, 1\)"):
        check_completions(path, layout="analyse-llms", prompts=PROMPTS, temperatures=["0.5"])


# Dictionaries of numeric arrays


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "|u1", "<i8", "|b1"])
def test_a_dictionary_of_numeric_arrays_comes_back_as_it_was(tmp_path: Path, dtype: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    np.save(tmp_path / "a.npy", np.array({"creative": {"x": array}, "y": array[0]}, dtype=object), allow_pickle=True)
    results = read_numeric_dict(tmp_path / "a.npy")
    assert list(results) == ["creative", "y"]
    np.testing.assert_array_equal(results["creative"]["x"], array)
    assert results["creative"]["x"].dtype == np.dtype(dtype)
    np.testing.assert_array_equal(results["y"], array[0])


def _deep(levels: int) -> dict[str, Any]:
    return {"a": _deep(levels - 1)} if levels else {"a": np.zeros(1)}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"a": "text"}, "a value of type str as 'a'"),
        ({"a": {"b": [np.zeros(2)]}}, r"a value of type list as 'a\.b'"),
        ({1: np.zeros(2)}, "a dictionary whose keys include int"),
        ({"a": np.array(["x"])}, "a numpy array of type 'U1'"),
        ({"a": np.zeros(2, dtype="M8[s]")}, "a numpy array of type 'M8'"),
        ({"a": grid()}, "a value of type Array as 'a'"),
        (_deep(20), "a value of type dict"),
        (["a"], "an array of shape"),
    ],
)
def test_a_dictionary_of_anything_else_is_refused(tmp_path: Path, value: Any, found: str) -> None:
    array = np.empty((), dtype=object)
    array[()] = value
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(StudyError, match=rf"a\.npy holds .*{found}.*Allowed: nested dictionaries"):
        read_numeric_dict(tmp_path / "a.npy")
