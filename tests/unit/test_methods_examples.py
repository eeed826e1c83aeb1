"""From texts to token ids: the loss is on the answer alone, and nothing is cut or merged silently."""

from pathlib import Path

import pyarrow as pa
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from modecollapse.errors import CorruptFile, StudyError
from modecollapse.methods.examples import Encoded, encode, labelled, paired, read_texts
from modecollapse.prompts import PromptFormat
from modecollapse.sealed import write_sealed

HUMAN = PromptFormat("human", "Human: {prompt} Assistant: {start}")
WORDS = ["<eos>", "<unk>", "Human", "Assistant", ":", "why", "because", "so", "?"]
WHOLE = ["Human: why ? Assistant:", "Human: why ? Assistant: so"]
WHERE = Path("data/answers.parquet")


def _tokenizer(split: pre_tokenizers.PreTokenizer, **options: str) -> PreTrainedTokenizerFast:
    raw = Tokenizer(models.WordLevel({word: index for index, word in enumerate([*WORDS, *WHOLE])}, unk_token="<unk>"))
    raw.pre_tokenizer = split
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<eos>", unk_token="<unk>", **options)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return _tokenizer(pre_tokenizers.Whitespace())


def test_an_answer_is_what_follows_the_rendered_prompt_and_ends_with_end_of_text(tokenizer):
    encoded = encode(tokenizer, HUMAN, ["why ?"], [["because so"], [""]])
    assert encoded.prompts == [[2, 4, 5, 8, 3, 4]]
    assert encoded.answers == [[[6, 7, 0]], [[0]]]


def test_prompts_that_hold_their_turns_are_not_put_into_a_format_once_more(tokenizer):
    turns = ["Human: why ? Assistant: "]
    with pytest.raises(StudyError, match=r"row 0 ends with 'Assistant:'.*train_format: dialogue"):
        encode(tokenizer, HUMAN, turns, [["so"]])
    encoded = encode(tokenizer, PromptFormat("dialogue", "{prompt}"), turns, [["so"]])
    assert encoded.prompts == [[2, 4, 5, 8, 3, 4]]


def test_a_tokenizer_that_merges_prompt_and_answer_is_refused():
    whole = _tokenizer(pre_tokenizers.Split("|", "isolated"))
    with pytest.raises(StudyError, match=r"row 0 .* merges the end of the prompt"):
        encode(whole, HUMAN, ["why ?"], [["so"]])


def test_an_end_of_text_token_that_the_tokenizer_appends_never_stands_between_prompt_and_answer(tokenizer):
    ending = _tokenizer(pre_tokenizers.Whitespace())
    ending.backend_tokenizer.post_processor = processors.TemplateProcessing("$A <eos>", special_tokens=[("<eos>", 0)])
    assert ending("why ?")["input_ids"][-1] == 0
    assert encode(ending, HUMAN, ["why ?"], [["so"]]) == encode(tokenizer, HUMAN, ["why ?"], [["so"]])


def test_labels_cover_the_answer_and_nothing_of_the_prompt():
    columns = labelled(Encoded([[5, 6], [5]], [[[7, 0], [8, 9, 0]]]), 4, "error", WHERE)
    assert columns == {"input_ids": [[5, 6, 7, 0], [5, 8, 9, 0]], "labels": [[-100, -100, 7, 0], [-100, 8, 9, 0]]}


def test_a_long_example_loses_tokens_from_the_left():
    columns = labelled(Encoded([[1, 2, 3]], [[[4, 5, 0]]]), 4, "truncate", WHERE)
    assert columns == {"input_ids": [[3, 4, 5, 0]], "labels": [[-100, 4, 5, 0]]}


def test_a_long_pair_loses_the_beginning_of_its_prompt_then_the_ends_of_its_answers():
    prompt, short, long = [1, 2, 3, 4], [5, 0], [6, 7, 8, 0]
    fits = paired(Encoded([prompt], [[short], [short]]), 6, 2, "truncate", WHERE)
    assert fits == {"prompt_ids": [prompt], "chosen_ids": [short], "rejected_ids": [short]}
    prompt_cut = paired(Encoded([prompt], [[short], [long]]), 6, 2, "truncate", WHERE)
    assert prompt_cut == {"prompt_ids": [[3, 4]], "chosen_ids": [short], "rejected_ids": [long]}
    both_cut = paired(Encoded([prompt], [[short], [long]]), 5, 2, "truncate", WHERE)
    assert both_cut == {"prompt_ids": [[3, 4]], "chosen_ids": [short], "rejected_ids": [[6, 7, 8]]}


def test_a_text_that_does_not_fit_is_named_with_its_row_and_length():
    with pytest.raises(StudyError, match=r"answers\.parquet: row 1 is 5 tokens long, but max_length allows 4"):
        labelled(Encoded([[1], [1, 2]], [[[0], [3, 4, 0]]]), 4, "error", WHERE)
    with pytest.raises(StudyError, match="row 0 is 3 tokens long, but max_length allows 2"):
        paired(Encoded([[1]], [[[0]], [[3, 0]]]), 2, 1, "error", WHERE)


@pytest.mark.parametrize(
    ("table", "word"),
    [
        ({"prompt": ["a"], "chosen": ["b"]}, "no column 'completion'; it has prompt, chosen"),
        ({"prompt": [], "completion": []}, "no rows"),
        ({"prompt": ["a", None], "completion": ["b", "c"]}, "prompt of row 1 is None"),
        ({"prompt": ["a"], "completion": [1]}, "completion of row 0 is 1"),
    ],
)
def test_unusable_data_is_refused(tmp_path, table, word):
    path = tmp_path / "data.parquet"
    write_sealed(pa.table(table), path)
    with pytest.raises(StudyError, match=word):
        read_texts(path, ("prompt", "completion"))


def test_a_flipped_byte_in_the_data_is_never_trained_on(tmp_path):
    path = tmp_path / "data.parquet"
    write_sealed(pa.table({"text": ["a", "b"]}), path)
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptFile):
        read_texts(path, ("text",))
