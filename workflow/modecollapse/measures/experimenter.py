"""A loaded model that is asked, continued and looked at token by token, for all measures that sample outputs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from modecollapse import stopping
from modecollapse.errors import BrokenWeights
from modecollapse.generation.completions import Completion, Finisher
from modecollapse.generation.models import CausalModel
from modecollapse.generation.rollouts import Rollout, sample_rollouts
from modecollapse.generation.tokenized import check_context, tokenize_prompts
from modecollapse.measures.asking import AskingSettings
from modecollapse.measures.divergence import batch_bounds
from modecollapse.prompts import PromptFormat
from modecollapse.rendering import render

_ENTRIES = {"cpu": 2**22, "cuda": 2**26}
"""Probabilities that are held at a time on a device."""

_LEAST = 1e-6
"""Probability of a beginning of an answer below which its continuations are not followed."""


@dataclass(frozen=True)
class Output:
    """One sampled output."""

    prompt: str
    sample: int
    completion: Completion
    rollout: Rollout
    context: list[int]
    """Token ids of what stood before."""


@dataclass(frozen=True)
class TokenRow:
    """One token of an output, and the distribution that it was drawn from."""

    token: str
    log_prob: float
    """In nats."""
    entropy: float
    """In bits, over the whole vocabulary."""
    top: tuple[tuple[str, float], ...]
    """The most probable tokens with their probabilities, falling."""


class Experimenter:
    """A model that is asked.

    Args:
        model: the model.
        stop: strings before which outputs are cut.
        rows_per_batch: outputs sampled side by side; None for as many as memory allows.
    """

    def __init__(self, model: CausalModel, stop: Sequence[str] = (), rows_per_batch: int | None = None) -> None:
        self._model = model
        self._rows_per_batch = rows_per_batch
        self._finisher = Finisher(model.tokenizer, model.end_tokens, stop)
        self._texts: dict[int, str] = {}

    def rendered(self, form: PromptFormat, text: str, start: str = "") -> str:
        """A prompt as the model is shown it; see `rendering.render`."""
        return render(form, self._model.tokenizer, text, start)

    def room(self, rendered: str) -> float:
        """Tokens that fit the model's context after a text; infinite if it has no limit."""
        return math.inf if self._model.context is None else self._model.context - len(self._tokens({"": rendered})[""])

    def outputs(self, rendered: Mapping[str, str], settings: AskingSettings, stream: str) -> list[Output]:
        """Outputs of every prompt, id → rendered text, in their order.

        Raises:
            StudyError: a prompt and `max_new_tokens` exceed the model's context, or memory does not do.
            BrokenWeights: the model predicts something that is not a number.
            Stopped: the process was asked to stop.
        """
        tokens = self._tokens(rendered)
        rows = [(prompt, sample) for prompt in rendered for sample in range(settings.completions)]
        temperature = float(settings.temperature)
        rollouts = sample_rollouts(
            self._model, tokens, rows, temperature, settings.max_new_tokens, stream, self._rows_per_batch
        )
        return [
            Output(prompt, sample, self._finisher.finish(rollout.tokens), rollout, tokens[prompt])
            for (prompt, sample), rollout in zip(rows, rollouts, strict=True)
        ]

    def token_text(self, token: int) -> str:
        """A token as it reads within a text, a space before a word included."""
        if token not in self._texts:
            decoded = (self._decode([self._anchor, token]), self._decode([self._anchor]))
            self._texts[token] = decoded[0].removeprefix(decoded[1])
        return self._texts[token]

    def token_rows(self, outputs: Sequence[Output], temperature: float, top: int) -> list[list[TokenRow]]:
        """The tokens of outputs, up to where they end or were cut, with the distributions at `temperature`.

        Raises:
            BrokenWeights: the model predicts something that is not a number.
            Stopped: the process was asked to stop.
        """
        found: list[list[TokenRow]] = [[] for _ in outputs]
        for place, tokens, log_probs in self._predictions(outputs, temperature):
            probabilities = log_probs.exp()
            entropies = -torch.special.xlogy(probabilities, probabilities).sum(-1) / math.log(2)
            likely = probabilities.topk(min(top, probabilities.shape[-1]), dim=-1)
            drawn = log_probs[torch.arange(len(tokens)), torch.tensor(tokens)]
            found[place] = [
                TokenRow(
                    self.token_text(token),
                    float(log_prob),
                    float(entropy),
                    tuple((self.token_text(int(i)), float(p)) for i, p in zip(ids, values, strict=True)),
                )
                for token, log_prob, entropy, ids, values in zip(
                    tokens, drawn, entropies, likely.indices, likely.values, strict=True
                )
            ]
        return found

    def next_tokens(self, rendered: str, most: int) -> list[tuple[str, float]]:
        """The most probable tokens after a text with their probabilities, falling.

        Raises:
            StudyError: the text exceeds the model's context.
            BrokenWeights: the model predicts something that is not a number.
        """
        (log_probs,) = self._next([self._followed(rendered)])
        likely = log_probs.exp().sort(descending=True, stable=True)
        most = min(most, len(likely.values))
        return [
            (self.token_text(int(token)), float(value))
            for token, value in zip(likely.indices[:most], likely.values[:most], strict=True)
        ]

    def choice_probabilities(self, rendered: str, choices: Sequence[str]) -> dict[str, float]:
        """The probability that what follows a text begins with each of `choices`, after a space or at once.

        It is the sum over all ways to split the choice into tokens, and the next character is neither letter nor
        digit, so that 4 is not the beginning of 42. Beginnings less probable than one in a million are not followed.

        Raises:
            StudyError: the text exceeds the model's context.
            BrokenWeights: the model predicts something that is not a number.
            Stopped: the process was asked to stop.
        """
        root = self._followed(rendered)
        wanted = {lead + choice: choice for choice in choices for lead in ("", " ")}
        starts = {whole[:end] for whole in wanted for end in range(len(whole) + 1)}
        found = dict.fromkeys(choices, 0.0)
        level: dict[tuple[int, ...], tuple[str, float]] = {(): ("", 1.0)}
        while level:
            stopping.check()
            following = {}
            for (path, (written, mass)), log_probs in zip(
                level.items(), self._next([[*root, *path] for path in level]), strict=True
            ):
                probabilities = mass * log_probs.exp()
                if written in wanted:
                    found[wanted[written]] += float(probabilities[self._bounds_a_word].sum())
                    probabilities[self._bounds_a_word] = 0.0
                for token in torch.nonzero(probabilities > _LEAST)[:, 0].tolist():
                    whole = written + self.token_text(token)
                    if whole in starts and whole != written:
                        following[*path, token] = (whole, float(probabilities[token]))
                    elif (choice := _begun(whole, wanted)) is not None:
                        found[choice] += float(probabilities[token])
            level = following
        return found

    def _next(self, contexts: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        """Log-probabilities (vocabulary,) in float64 of what follows each of these token ids, all equally many."""
        rows = max(1, _ENTRIES[self._model.device.type] // (len(contexts[0]) * self._model.vocabulary_size))
        for start in range(0, len(contexts), rows):
            batch = torch.tensor([list(each) for each in contexts[start : start + rows]], device=self._model.device)
            with torch.inference_mode():
                logits = self._model.network(input_ids=batch, use_cache=False).logits[:, -1]
            yield from _log_probs(logits, 1.0)

    def _predictions(self, outputs: Sequence[Output], temperature: float) -> Iterator[tuple[int, list[int], Tensor]]:
        """Place, token ids and their log-probabilities (tokens, vocabulary) at `temperature`, of one output each."""
        whole = [[*output.context, *output.rollout.tokens[: output.completion.n_tokens]] for output in outputs]
        order = sorted(range(len(outputs)), key=lambda row: (-len(whole[row]), row))
        entries = _ENTRIES[self._model.device.type] // self._model.vocabulary_size
        for start, end in pairwise(batch_bounds([len(whole[row]) for row in order], max(1, entries))):
            stopping.check()
            batch = [whole[row] for row in order[start:end]]
            width = len(batch[0])
            lengths = torch.tensor([len(row) for row in batch], device=self._model.device)
            ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in batch], device=self._model.device)
            mask = (torch.arange(width, device=self._model.device) < lengths[:, None]).long()
            with torch.inference_mode():
                logits = self._model.network(input_ids=ids, attention_mask=mask, use_cache=False).logits
            for row, of_row in zip(order[start:end], logits, strict=True):
                # The token at a place is predicted by the place before.
                first, last = len(outputs[row].context), len(whole[row])
                yield row, whole[row][first:], _log_probs(of_row[first - 1 : last - 1], temperature)

    @cached_property
    def _bounds_a_word(self) -> Tensor:
        """Which tokens (vocabulary,) begin with what is neither letter nor digit, or end the text."""
        texts = map(self.token_text, range(self._model.vocabulary_size))
        return torch.tensor([not text[:1].isalnum() for text in texts])

    @cached_property
    def _anchor(self) -> int:
        return int(self._model.tokenizer("a", add_special_tokens=False)["input_ids"][-1])

    def _decode(self, tokens: list[int]) -> str:
        return str(self._model.tokenizer.decode(tokens, clean_up_tokenization_spaces=False))

    def _followed(self, rendered: str) -> list[int]:
        """Token ids of a text that one token at least fits behind."""
        (tokens,) = self._tokens({"": rendered}).values()
        check_context([f"{rendered[:60]}…" if len(rendered) > 60 else rendered], [tokens], 1, self._model.context)
        return tokens

    def _tokens(self, rendered: Mapping[str, str]) -> dict[str, list[int]]:
        ids, tokens = tokenize_prompts(self._model, list(rendered.items()))
        return dict(zip(ids, tokens, strict=True))


def _log_probs(logits: Tensor, temperature: float) -> Tensor:
    """In float64, on the processor."""
    found = (logits.double() / temperature).log_softmax(-1).cpu()
    if not bool(found.isfinite().any(-1).all()) or bool(found.isnan().any()):
        raise BrokenWeights("The model predicts what is not a number.")
    return found


def _begun(text: str, wanted: Mapping[str, str]) -> str | None:
    """The choice that a text begins with, if what follows it is neither letter nor digit."""
    for whole, choice in wanted.items():
        if text.startswith(whole) and len(text) > len(whole) and not text[len(whole)].isalnum():
            return choice
    return None
