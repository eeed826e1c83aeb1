"""What the world knows about itself, to compare measurements with."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from modecollapse.data.nano.annotators import QUALITY
from modecollapse.data.nano.world import World
from modecollapse.prompts import Prompt

SelfBleu = Callable[[Sequence[str]], float]

STRENGTHS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
"""λ of the curve: answers with probability ∝ p(answer) · exp(λ · utility)."""
COMPLETIONS = 25
WORDS = 20
"""Self-BLEU is that of `COMPLETIONS` answers' first `WORDS` words, as in the study's cells."""

SCHEMA = pa.schema(
    [("task", pa.string()), ("quantity", pa.string()), ("lambda", pa.float64()), ("value", pa.float64())]
)


@dataclass(frozen=True)
class Truth:
    """One true value."""

    task: str
    quantity: str
    strength: float | None
    """λ; None for what does not depend on it."""
    value: float


def truth_table(
    world: World, prompts: Sequence[Prompt], self_bleu: SelfBleu, tokens_per_document: float | None = None
) -> pa.Table:
    """True values: task, quantity, lambda, value.

    * ``self_bleu``, ``utility``, ``entropy``, ``kl``, ``words``: of the true answers to `prompts`, tilted by each λ,
      averaged over the prompts of a task. λ = 0 is the distribution that fine-tuning learns from. Utility, entropy
      and the KL divergence from λ = 0 (nats per answer) are closed forms; self-BLEU and the number of words are those
      of a seeded sample. Tilted creative answers are longer, so their entropy per answer can rise while that per word
      falls.
    * ``entropy_per_document`` (nats, closed form) of pretraining text and, with `tokens_per_document` (scored tokens),
      ``entropy_floor`` in nats per token: no model can have a lower cross-entropy on average.

    Args:
        world: the world.
        prompts: any prompts of this world, of one or both tasks.
        self_bleu: the metric, for the texts of one prompt.
        tokens_per_document: mean number of scored tokens of a document.

    Raises:
        ValueError: this world cannot ask one of the prompts.
    """
    truths = [*pretraining_truths(world, tokens_per_document), *answer_truths(world, prompts, self_bleu)]
    rows = [dict(zip(SCHEMA.names, (t.task, t.quantity, t.strength, t.value), strict=True)) for t in truths]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def pretraining_truths(world: World, tokens_per_document: float | None) -> Iterator[Truth]:
    """The entropy of pretraining text."""
    entropy = world.corpus.entropy()
    yield Truth("pretraining", "entropy_per_document", None, entropy)
    if tokens_per_document is not None:
        yield Truth("pretraining", "entropy_floor", None, entropy / tokens_per_document)


def answer_truths(world: World, prompts: Sequence[Prompt], self_bleu: SelfBleu) -> Iterator[Truth]:
    """The tilting curve of each task that `prompts` contain."""
    questions = [world.understand(prompt.text or "") for prompt in prompts]
    asked = [question for question in questions if question is not None]
    if len(asked) < len(prompts):
        strange = next(p.id for p, question in zip(prompts, questions, strict=True) if question is None)
        raise ValueError(f"truth: the prompt {strange!r} is no question of the nano world")
    draw = world.annotators.draw_utility
    for strength in STRENGTHS:
        model = world.answer_model.tilted(QUALITY, draw, strength)
        for task in sorted({question.kind.task for question in asked}):
            values: dict[str, list[float]] = {name: [] for name in ("self_bleu", "utility", "entropy", "kl", "words")}
            for question in asked:
                if question.kind.task != task:
                    continue
                # The same draws at every λ: the curve's shape is not hidden by sampling noise.
                source = random.Random(f"{world.settings.seed}/truth/{question.text}")
                texts = [model.sample(question, source).text for _ in range(COMPLETIONS)]
                values["self_bleu"].append(self_bleu([" ".join(text.split()[:WORDS]) for text in texts]))
                utility = model.expected_utility(question, QUALITY, draw)
                values["utility"].append(utility)
                # The logarithm of the tilted by the true probability is λ · utility − log E[exp(λ · utility)].
                values["kl"].append(strength * utility - model.log_mean(question))
                values["entropy"].append(model.entropy(question))
                values["words"].append(sum(len(text.split()) for text in texts) / COMPLETIONS)
            for quantity, of_prompts in values.items():
                yield Truth(task, quantity, strength, sum(of_prompts) / len(of_prompts))
