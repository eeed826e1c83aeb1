"""Token statistics: how a model predicts held-out text, position by position.

Every document is read in windows with the beginning-of-text token as prefix (the end-of-text token where a tokenizer
has no other); every token is scored exactly once. Windows are batched by length, so the last bits of a sum depend on
the batch: sums over a document agree with a float64 computation, and with those of any other batch, to 1e-5 of their
size for models in float32 (KL: to 1e-6 nats per token).

The same pass adds up what the replica of O'Mahony et al. (2024) needs: their entropy, confidence and mean probabilities
are over all positions of a window, the context that a drawn-back window repeats included, and their mean probabilities
are means of windows.

Documents are read one after another and forgotten: their windows go through the model in chunks of about
`CHUNK_POSITIONS` positions, within which they are batched by length, and what is added up is kept after chunks, so that
a killed job goes on from there and ends with the very same sums. Memory does not grow with the text, but for some 80
bytes per document, and the token ids of the longest one.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from modecollapse import stopping
from modecollapse.errors import StudyError
from modecollapse.generation.progress import Progress, silent
from modecollapse.measures.encoding import encoded
from modecollapse.measures.token_sums import TokenSums, float_logits, last_hidden
from modecollapse.measures.windows import Window, batches, chunks, windows
from modecollapse.schema import Strict
from modecollapse.unfinished import Unfinished

if TYPE_CHECKING:
    from modecollapse.generation.models import CausalModel

logger = logging.getLogger(__name__)

_CPU_POSITIONS = 1024


class TokenSettings(Strict):
    """What held-out text is scored, and how."""

    documents: Annotated[int, Field(ge=1)] = 10_000
    """Documents scored at most, from the beginning of the data."""
    context: Annotated[int, Field(ge=2)] = 1024
    """Positions of a window, the prefix included; not more than the model knows."""
    groups: Annotated[int, Field(ge=2)] = 50
    """Blocks of documents, the units of the bootstrap of vocabulary shares."""
    batch: Annotated[int, Field(ge=1)] = 16_384
    """Positions (padding included) that go through the model together on a device, at least one window; a processor,
    whose caches hold less, takes 1,024 at most."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number format of weights and activations; statistics are computed in float32 and summed in float64."""


def batch_positions(settings: TokenSettings, device: str) -> int:
    """Positions that go through the model together on "cpu" or "cuda"."""
    return min(settings.batch, _CPU_POSITIONS) if device == "cpu" else settings.batch


class Documents(Protocol):
    """Texts that can be counted, and read in order as often as is needed."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[str]: ...


def token_statistics(
    model_directory: Path,
    reference_directory: Path | None,
    texts: Documents,
    settings: TokenSettings,
    threads: int,
    device: str = "cpu",
    progress: Progress = silent,
    unfinished: Unfinished | None = None,
) -> tuple[pa.Table, pa.Table]:
    """Score the first `settings.documents` texts with a model.

    Args:
        model_directory: model and tokenizer.
        reference_directory: the model of the first stage, for KL(model ‖ reference); `kl` is undefined (NaN) without
            one, and if its vocabulary is another.
        texts: held-out documents.
        settings: see `TokenSettings`.
        threads: CPU threads of this process.
        device: "cpu" or "cuda".
        progress: called with (documents scored, documents).
        unfinished: where sums are kept for a job that is killed; what is there is gone on from.

    Returns:
        documents: one row per text: document, n_tokens (scored), n_bytes (UTF-8), sums over its tokens of nll, entropy,
            confidence (probability of the most probable token) and kl in nats; for the replica n_positions (of all
            its windows, repeated context included) and sums of entropy and confidence over them; its block `group`.
        vocabulary: sums of `n_distributions` predicted distributions. Definition "corrected": one row per block, the
            distributions of its tokens. Definition "replica": one row without a block, the mean distributions of the
            windows of every document up to the last one whose number is a multiple of `REPLICA_BLOCK` and that is not
            empty: what comes after it, O'Mahony et al. computed but did not keep.

    Raises:
        StudyError: no text; a context longer than the model's; a head that does more than a matrix product; predictions
            that are not numbers.
        Stopped: the process was asked to stop; what is summed up as a whole is kept.
    """
    from modecollapse.generation.models import load_causal_model

    if not len(texts):
        raise StudyError("Token statistics need at least one held-out document.")
    model = load_causal_model(model_directory, settings.dtype, threads, device)
    reference = None
    if reference_directory is not None:
        same = reference_directory.resolve() == model_directory.resolve()
        reference = model if same else load_causal_model(reference_directory, settings.dtype, threads, device)
    return score_documents(model, reference, texts, settings, progress, unfinished)


def score_documents(
    model: CausalModel,
    reference: CausalModel | None,
    texts: Documents,
    settings: TokenSettings,
    progress: Progress = silent,
    unfinished: Unfinished | None = None,
) -> tuple[pa.Table, pa.Table]:
    """As `token_statistics`, with loaded models; `reference` may be `model` itself."""
    import torch

    _check(model, reference, settings)
    if reference is not None and not _share_vocabulary(model, reference):
        logger.warning("the model and its reference have different vocabularies, so KL between them is undefined")
        reference = None
    n = min(len(texts), settings.documents)
    sums = TokenSums(model, reference, _blocks(n, settings.groups))
    if unfinished and (before := unfinished.load()) is not None:
        sums.restore(before)
        logger.info("going on from document %d of %d", sums.position[0], n)
    most = batch_positions(settings, model.device.type)
    with torch.inference_mode():
        for chunk in chunks(_windows_from(sums, itertools.islice(texts, n), model, settings.context)):
            before = sums.state() if unfinished else None  # a chunk can take minutes, too long to finish it when asked
            sums.begin(chunk)
            first, last, done = chunk[0].document, chunk[-1].document, 0
            for batch in batches(chunk, most):
                if unfinished and stopping.requested():
                    unfinished.save(before)
                stopping.check()
                sums.add(batch)
                done += len(batch)
                progress(first + (last - first) * done // len(chunk), n)
            if unfinished and unfinished.is_due():
                unfinished.save(sums.state())
    if not sums.n_tokens.any():
        raise StudyError("Token statistics need held-out text: every document is empty.")
    progress(n, n)
    return sums.tables()


def _windows_from(sums: TokenSums, texts: Iterator[str], model: CausalModel, context: int) -> Iterator[Window]:
    """The windows that `sums` does not hold yet, in order, while it is told of each document."""
    document, scored = sums.position
    rest = itertools.islice(texts, document, None)
    for text, tokens in encoded(model.tokenizer, rest):
        sums.meet(document, len(tokens), len(text.encode()))
        yield from itertools.islice(windows(document, tokens, model.prefix_token, context), scored, None)
        document, scored = document + 1, 0


def _check(model: CausalModel, reference: CausalModel | None, settings: TokenSettings) -> None:
    """What must hold before hours are spent on scoring."""
    import torch

    if model.context is not None and settings.context > model.context:
        raise StudyError(
            f"Token statistics ask for a context of {settings.context} positions, the model knows {model.context}. "
            f"Set context to at most {model.context}."
        )
    for each in {id(one): one for one in (model, reference) if one is not None}.values():
        ids = torch.full((1, 2), each.prefix_token, device=each.device)
        with torch.inference_mode():
            whole = each.network(input_ids=ids, use_cache=False).logits.float().log_softmax(-1)
            parts = float_logits(each, last_hidden(each, ids)).log_softmax(-1)
        if not torch.allclose(whole, parts, atol=0.05 if settings.dtype == "bfloat16" else 1e-4, equal_nan=True):
            raise StudyError(
                f"Models of type {each.network.config.model_type} are not supported here: their logits are more than "
                "their output embeddings applied to the last hidden state."
            )


def _share_vocabulary(model: CausalModel, reference: CausalModel) -> bool:
    """Whether every entry of the logits stands for the same token in both, as far as both tokenizers know it."""
    if model is reference:
        return True
    ours, theirs = ({i: token for token, i in each.tokenizer.get_vocab().items()} for each in (model, reference))
    return model.vocabulary_size == reference.vocabulary_size and all(
        theirs.get(i, token) == token for i, token in ours.items()
    )


def _blocks(n: int, groups: int) -> NDArray[np.int64]:
    """A block for each of `n` documents: equally large, and blind to the order of the documents."""
    return np.random.default_rng(n).permutation(n) % min(groups, n)
