"""What is decided before training begins: learning rates, the order of examples, packing, checkpoints."""

import json
import math
from collections import Counter

import numpy as np
import pytest

from modecollapse.errors import StudyError
from modecollapse.methods.order import training_order
from modecollapse.methods.packing import packed
from modecollapse.methods.progress import report
from modecollapse.methods.resume import checkpoint_path, is_complete, newest_complete, remove_older, seal
from modecollapse.methods.schedule import learning_rate_share


def test_warm_up_rises_in_equal_steps_and_already_moves_in_the_first():
    shares = [learning_rate_share(step, 10, 4, "constant") for step in range(6)]
    assert shares == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def test_the_cosine_starts_at_the_peak_passes_its_middle_and_ends_at_a_tenth():
    assert learning_rate_share(2, 13, 2, "cosine") == pytest.approx(1.0)
    assert learning_rate_share(7, 13, 2, "cosine") == pytest.approx(0.55)
    assert learning_rate_share(12, 13, 2, "cosine") == pytest.approx(0.1)
    assert learning_rate_share(0, 1, 0, "cosine") == pytest.approx(1.0)


def test_every_epoch_shows_every_example_once_in_an_order_of_its_own():
    lengths = [5] * 10
    order = training_order(lengths, epochs=2, batch_size=4, seed=1, group_by_length=False)
    first, second = order[:10], order[10:]
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert order == training_order(lengths, 2, 4, 1, False)
    assert order != training_order(lengths, 2, 4, 2, False)


@pytest.mark.parametrize("count", [64, 70, 3])
def test_grouping_by_length_keeps_every_example_and_saves_padding(count):
    lengths = np.random.default_rng(0).integers(5, 60, count).tolist()

    def padding(order):
        batches = [[lengths[index] for index in order[start : start + 4]] for start in range(0, count, 4)]
        return sum(max(batch) * len(batch) - sum(batch) for batch in batches)

    grouped = training_order(lengths, 1, 4, 0, True)
    plain = training_order(lengths, 1, 4, 0, False)
    assert sorted(grouped) == list(range(count))
    if count > 4:
        assert padding(grouped) < padding(plain) / 2


def test_packing_separates_documents_by_end_of_text_and_rows_share_one_token():
    documents = [[1, 1], [2], [3, 3, 3]]
    rows = packed(documents, eos=0, sequences=3, length=3, seed=0)
    assert rows.shape == (3, 4)
    assert rows[0, -1] == rows[1, 0]
    assert rows[1, -1] == rows[2, 0]
    stream = [*rows[:, :-1].ravel().tolist(), int(rows[-1, -1])]
    assert stream[0] == 0
    one_pass = stream[1:10]
    assert Counter(one_pass) == {0: 3, 1: 2, 2: 1, 3: 3}
    texts = " ".join(map(str, one_pass)).split("0")
    assert sorted(text.split() for text in texts if text.strip()) == [["1", "1"], ["2"], ["3", "3", "3"]]


def test_passes_over_the_corpus_differ_and_the_seed_decides_them():
    documents = [[index] for index in range(1, 30)]
    rows = packed(documents, eos=0, sequences=2, length=58, seed=4)
    first, second = rows[0, 1:58:2].tolist(), rows[1, 1:58:2].tolist()
    assert sorted(first) == sorted(second) == list(range(1, 30))
    assert first != second
    assert np.array_equal(rows, packed(documents, 0, 2, 58, seed=4))
    assert not np.array_equal(rows, packed(documents, 0, 2, 58, seed=5))


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_training(loss):
    with pytest.raises(StudyError, match="diverged"):
        report(10, 100, 10, loss)


def _checkpoint(state, step):
    path = checkpoint_path(state, step)
    path.mkdir()
    (path / "weights").write_bytes(bytes(range(step)))
    seal(path)
    return path


def test_the_newest_complete_checkpoint_is_found_and_all_others_are_removed(tmp_path):
    for step in (9, 10, 100):
        _checkpoint(tmp_path, step)
    assert newest_complete(tmp_path) == tmp_path / "checkpoint-100"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-100"]


@pytest.mark.parametrize("damage", ["unsealed", "torn seal", "cut", "flipped", "lost file", "extra file"])
def test_a_damaged_newest_checkpoint_is_passed_over(tmp_path, damage):
    good, bad = _checkpoint(tmp_path, 5), _checkpoint(tmp_path, 6)
    match damage:
        case "unsealed":
            (bad / "complete.json").unlink()
        case "torn seal":
            (bad / "complete.json").write_text('{"weig')
        case "cut":
            (bad / "weights").write_bytes(b"")
        case "flipped":
            (bad / "weights").write_bytes(bytes([1, 1, 2, 3, 4, 5]))
        case "lost file":
            (bad / "weights").unlink()
        case "extra file":
            (bad / "more").touch()
    assert not is_complete(bad)
    assert newest_complete(tmp_path) == good
    assert not bad.exists()


def test_without_a_complete_checkpoint_training_starts_anew(tmp_path):
    (tmp_path / "checkpoint-3").mkdir()
    (tmp_path / "other").mkdir()
    assert newest_complete(tmp_path) is None
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_older_checkpoints_go_only_when_a_newer_one_is_sealed(tmp_path):
    for step in (3, 6):
        _checkpoint(tmp_path, step)
    remove_older(tmp_path / "checkpoint-6")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-6"]
    assert json.loads((tmp_path / "checkpoint-6" / "complete.json").read_text()).keys() == {"weights"}
