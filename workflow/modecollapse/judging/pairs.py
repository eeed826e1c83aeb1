"""The pairs of answers that are compared, and the table that a judge's verdicts on them make."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from modecollapse.cells import Cell
from modecollapse.errors import StudyError
from modecollapse.judging.verdicts import NO_ORDER, Verdict


@dataclass(frozen=True)
class Answer:
    """One completion of a cell."""

    text: str
    """As the cell has it, without the start that was put into the model's mouth."""
    finish_reason: str


@dataclass(frozen=True)
class Pair:
    """The k-th completion of a stage to a prompt beside the k-th of the reference, at one temperature."""

    prompts: str
    prompt: str
    """The prompt's id."""
    question: str
    """The prompt's text."""
    start: str
    """What was put into both models' mouths; mostly empty."""
    task: str
    temperature: str
    sample: int
    stage: Answer
    reference: Answer

    @property
    def equal(self) -> bool:
        """Whether both answers read the same, so that no judge need be asked."""
        ours, other = self.shown()
        return ours == other

    def shown(self) -> tuple[str, str]:
        """What a reader sees as the answers of stage and reference: the start and the completion, without margins."""
        return f"{self.start}{self.stage.text}".strip(), f"{self.start}{self.reference.text}".strip()


@dataclass(frozen=True)
class Judged:
    """What a judge says of one pair in one order."""

    verdict: Verdict
    order: str = NO_ORDER
    reply: str | None = None
    """What an endpoint replied, or why it did not; None for other judges and for equal answers."""
    answered_by: str | None = None
    """The model that the endpoint says replied; or the annotator."""
    scores: tuple[float, float] | None = None
    """Of the stage's answer and of the reference's, where the judge gives scores."""


@dataclass(frozen=True)
class PairSettings:
    """Which pairs, as a judgements spec says it."""

    temperatures: Sequence[str]
    completions: int | None
    prompts: Mapping[str, Sequence[Sequence[str]]]
    """Prompt set → (id, text, start, task) of each prompt."""


SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("prompts", "prompt", "task", "temperature")),
        ("sample", pa.int32()),
        *((name, pa.string()) for name in ("order", "verdict", "reply", "answered_by")),
        *((name, pa.float64()) for name in ("score", "reference_score")),
        *((name, pa.string()) for name in ("question", "text", "reference_text")),
    ]
)
"""One row per pair and order (or annotator). `verdict` is about the stage's answer, `text`, beside `reference_text`,
both with the start that was put into the models' mouths; `score`s are null but for judges that give them."""


def pairs_of(
    settings: PairSettings, stage: Iterable[tuple[Cell, pa.Table]], reference: Iterable[tuple[Cell, pa.Table]]
) -> list[Pair]:
    """The pairs, ordered by prompt set, temperature, prompt and sample.

    Args:
        settings: which ones.
        stage: cells of the stage with their tables (columns `prompt`, `sample`, `text`, `finish_reason`).
        reference: those of the reference.

    Raises:
        StudyError: one of the two has fewer completions of a prompt than are compared, or none.
    """
    ours, others = _answers(stage), _answers(reference)
    found = []
    for prompts, listed in settings.prompts.items():
        for temperature in settings.temperatures:
            for prompt, question, start, task in listed:
                place = (prompts, temperature, prompt)
                for sample in _samples(settings.completions, place, ours, others):
                    sides = (ours[place][sample], others[place][sample])
                    found.append(Pair(prompts, prompt, question, start, task, temperature, sample, *sides))
    return found


Place = tuple[str, str, str]


def _answers(cells: Iterable[tuple[Cell, pa.Table]]) -> dict[Place, dict[int, Answer]]:
    found: dict[Place, dict[int, Answer]] = {}
    for cell, table in cells:
        columns = (table[name].to_pylist() for name in ("prompt", "sample", "text", "finish_reason"))
        for prompt, sample, text, reason in zip(*columns, strict=True):
            found.setdefault((cell.prompts, cell.temperature, prompt), {})[sample] = Answer(text, reason)
    return found


def _samples(
    wanted: int | None,
    place: Place,
    ours: Mapping[Place, Mapping[int, Answer]],
    others: Mapping[Place, Mapping[int, Answer]],
) -> Iterator[int]:
    both = sorted(ours.get(place, {}).keys() & others.get(place, {}).keys())
    if not both or (wanted is not None and len(both) < wanted):
        prompts, temperature, prompt = place
        raise StudyError(
            f"measures.judgements.completions: {wanted or 'at least 1'} per prompt are to be compared, but the two "
            f"stages have {len(both)} of the prompt {prompt} ({prompts}, T {temperature}) in common. Lower it, or "
            "raise generation.completions."
        )
    yield from both[:wanted]


def judgements_table(judged: Iterable[tuple[Pair, Judged]]) -> pa.Table:
    """The table of `SCHEMA`, in the order given."""
    columns: list[list[object]] = [[] for _ in SCHEMA]
    for pair, one in judged:
        scores = one.scores or (None, None)
        row = (
            *(pair.prompts, pair.prompt, pair.task, pair.temperature, pair.sample),
            *(one.order, str(one.verdict), one.reply, one.answered_by, *scores, pair.question, *pair.shown()),
        )
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    arrays = [pa.array(column, entry.type) for column, entry in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
