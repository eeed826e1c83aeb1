"""From a row of sampled tokens to a completion: where it ends, why, and what it says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Completion:
    """A finished row."""

    text: str
    """Decoded without special tokens, cut before the stop string; it begins with a space where the model wrote one."""
    finish_reason: str
    """`eos`, `stop` or `length`."""
    n_tokens: int
    """Tokens up to the end, the end-of-text token or the token that completes the stop string included."""


class Finisher:
    """Decides where rows end. The result is a function of a row's tokens alone, not of when it is asked."""

    def __init__(self, tokenizer: Any, end_tokens: Sequence[int], stop: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._end_tokens = frozenset(end_tokens)
        self._stop = tuple(stop)
        # A token stands for at least one byte, so a stop string cannot span more tokens than it has bytes.
        self._span = max((len(string.encode()) for string in self._stop), default=0)

    def finish(self, tokens: Sequence[int]) -> Completion:
        """Cut `tokens` at the first end-of-text token or stop string, whichever comes first."""
        length = next((i for i, token in enumerate(tokens) if token in self._end_tokens), len(tokens))
        text = self._decode(tokens[:length])
        places = [place for string in self._stop if (place := text.find(string)) >= 0]
        if places:
            return Completion(text[: min(places)], "stop", self._tokens_until_stop(tokens[:length]))
        if length < len(tokens):
            return Completion(text, "eos", length + 1)
        return Completion(text, "length", length)

    def is_stopped(self, tokens: Sequence[int], new: int) -> bool:
        """Whether a stop string is complete within `tokens`, the last `new` of which were not there when last asked."""
        if not self._contains_stop(self._decode(tokens[-(new + self._span) :])):
            return False
        # The end of a text may read differently on its own: only the whole text counts.
        return self._contains_stop(self._decode(tokens))

    def _tokens_until_stop(self, tokens: Sequence[int]) -> int:
        """Length of the shortest beginning of `tokens` whose text contains a stop string."""
        without, within = 0, len(tokens)
        while within - without > 1:
            middle = (without + within) // 2
            if self._contains_stop(self._decode(tokens[:middle])):
                within = middle
            else:
                without = middle
        return within

    def _contains_stop(self, text: str) -> bool:
        return any(string in text for string in self._stop)

    def _decode(self, tokens: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text
