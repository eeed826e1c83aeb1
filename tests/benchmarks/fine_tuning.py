"""Fine-tuning as a study does it beside a bare loop in PyTorch: same model, batches, padding, optimizer and loss.

Both are timed from the end of one update to the end of a later one, so that loading, tokenizing and saving count
nowhere. The bare loop keeps no curves, checkpoints or metrics, and has a row for every answer. Operations for the MFU
are those of the rows' tokens without padding, and of the head those of answers.
"""

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl.trainer.utils import add_fused_lm_head

from modecollapse.data.columns import PAIR_COLUMNS
from modecollapse.data.nano.world import World
from modecollapse.methods import dpo, finetuning, sft
from modecollapse.methods.answer_head import add_answer_head, needs_library_head
from modecollapse.methods.base import TrainingJob
from modecollapse.methods.examples import encode, labelled, paired
from modecollapse.methods.layout import Layout, shares
from modecollapse.methods.order import training_order
from modecollapse.methods.reference import reference_log_probabilities
from modecollapse.methods.trainers import AnswerTrainer, PreferenceTrainer
from modecollapse.prompts import PromptFormat
from modecollapse.resources.machine import Machine
from modecollapse.resources.shapes import neox_shape
from modecollapse.resources.training import Training, choose_layout
from tests.benchmarks.comparing import Comparison
from tests.benchmarks.shapes import SHAPES, Shape, make_model

Kind = Literal["sft", "dpo"]
Data = Mapping[str, list[list[int]]]

HUMAN = PromptFormat("human", "Human: {prompt} Assistant: {start}")
PEAK = 989e12
"""Operations per second of an H100 or H200 in bfloat16, dense, by its data sheet."""
BETA = 0.1
LONGEST = 512


@dataclass
class Case:
    """What is trained, and for how long it is timed."""

    name: str
    kind: Kind
    shape: Shape
    data: Data
    settings: Any
    layout: Layout
    warm: int
    updates: int
    """Updates that are timed, after `warm` that are not."""
    reference: Any = field(default_factory=lambda: np.zeros((2, 0), dtype=np.float32))
    """(2, pairs): the parent's log-probabilities of chosen and rejected answers; nothing for supervised fine-tuning."""

    @cached_property
    def order(self) -> list[int]:
        """The examples in the order of training."""
        chosen = self.settings
        return training_order(self.lengths, 1, chosen.batch_size, 0, chosen.group_by_length)

    @cached_property
    def lengths(self) -> list[int]:
        """What examples are grouped by."""
        if self.kind == "sft":
            return [len(ids) for ids in self.data["input_ids"]]
        return [prompt + max(answers) for prompt, *answers in self.parts]

    @cached_property
    def parts(self) -> list[tuple[int, ...]]:
        """Tokens of the prompt and of each answer."""
        if self.kind == "sft":
            scored = [sum(label != -100 for label in labels) for labels in self.data["labels"]]
            return [(len(ids) - answer, answer) for ids, answer in zip(self.data["input_ids"], scored, strict=True)]
        return [
            tuple(map(len, each)) for each in zip(*(self.data[f"{part}_ids"] for part in PAIR_COLUMNS), strict=True)
        ]

    @cached_property
    def timed(self) -> list[int]:
        """The examples of the updates that are timed."""
        size = self.settings.batch_size
        return self.order[self.warm * size : (self.warm + self.updates) * size]


@dataclass(frozen=True)
class Timing:
    """What one side needed for the timed updates, and the mean losses of its first points on the curve."""

    seconds: float
    losses: list[float]
    peak_gb: float
    """Memory of the GPU, at most; 0 on a processor."""


class _Enough(Exception):
    """The updates that are timed were made; what would come after, a checkpoint among it, is of no interest."""


class _Clock(TrainerCallback):
    """Times updates, and ends the training after them."""

    def __init__(self, case: Case, device: str) -> None:
        self.case, self.device = case, device
        self.times: list[float] = []
        self.curve: list[dict[str, float]] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step in (self.case.warm, self.case.warm + self.case.updates):
            self.times.append(now(self.device))

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if len(self.times) == 2:
            self.curve = state.log_history
            raise _Enough


def study_way(case: Case, parent: Path, device: str) -> Timing:
    """Train as a study does: its trainer, callbacks, loader and curves."""
    clock = _Clock(case, device)
    library: Any = AnswerTrainer if case.kind == "sft" else PreferenceTrainer

    class Trainer(library):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.add_callback(clock)

    with tempfile.TemporaryDirectory() as directory:
        job = TrainingJob(
            settings=case.settings,
            seed=0,
            threads=1,
            output=Path(directory) / "output",
            state=Path(directory),
            parent=parent,
            layout=case.layout,
        )
        model = finetuning.load_parent(job, case.settings)
        examples: dict[str, Any] = dict(case.data)
        options: dict[str, Any] = {}
        if case.kind == "dpo":
            options = {"loss_type": ["sigmoid"], "beta": BETA, "precompute_ref_log_probs": True}
            examples |= dict(zip(("ref_chosen_logps", "ref_rejected_logps"), case.reference.tolist(), strict=True))
        _begin(device)
        with suppress(_Enough):
            finetuning.train(job, case.settings, Trainer, model, examples, case.lengths, case.lengths, options)
    return Timing(clock.times[1] - clock.times[0], [point["loss"] for point in clock.curve], _peak(device))


def bare_way(case: Case, parent: Path, device: str) -> Timing:
    """The same updates in the fewest lines."""
    settings = case.settings
    model = AutoModelForCausalLM.from_pretrained(parent, dtype=torch.float32).to(device)
    reference = torch.from_numpy(case.reference).to(device)
    matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    optimizer: torch.optim.Optimizer
    if settings.optimizer == "adamw":
        groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, settings.learning_rate, betas=settings.betas, fused=True)
    else:
        optimizer = torch.optim.RMSprop(model.parameters(), settings.learning_rate)
    size, passes, order = settings.batch_size, case.layout.accumulation(settings.batch_size), case.order
    losses, times = [], []
    _begin(device)
    for step in range(case.warm + case.updates):
        update = order[step * size : (step + 1) * size]
        loss = torch.zeros((), device=device)
        scored = sum(case.parts[each][1] for each in update)
        for (part,) in zip(*shares(range(size), 1, passes), strict=True):
            places = [update[place] for place in part]
            rows = [row for answer in range(1, len(case.parts[0])) for row in _rows(case, places, answer)]
            ids, targets = (_padded([row[which] for row in rows], fill, device) for which, fill in ((0, 0), (1, -100)))
            with torch.autocast(device, torch.bfloat16, enabled=settings.dtype == "bfloat16"):
                of_rows = _log_probabilities(model, ids, targets)
                if case.kind == "sft":
                    part_of_loss = -of_rows.sum() / scored
                else:
                    chosen, rejected = of_rows.view(2, -1) - reference[:, places]
                    part_of_loss = -functional.logsigmoid(BETA * (chosen - rejected)).sum() / size
            part_of_loss.backward()
            loss += part_of_loss.detach()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss)
        if step + 1 in (case.warm, case.warm + case.updates):
            times.append(now(device))
    stride = settings.log_every
    means = [float(torch.stack(losses[at : at + stride]).mean()) for at in range(0, len(losses) - stride + 1, stride)]
    return Timing(times[1] - times[0], means, _peak(device))


def _rows(case: Case, places: Sequence[int], answer: int) -> list[tuple[list[int], list[int]]]:
    """Tokens and labels of examples with one of their answers."""
    if case.kind == "sft":
        return [(case.data["input_ids"][place], case.data["labels"][place]) for place in places]
    prompts, answers = case.data["prompt_ids"], case.data[f"{PAIR_COLUMNS[answer]}_ids"]
    return [
        ([*prompts[place], *answers[place]], [*([-100] * len(prompts[place])), *answers[place]]) for place in places
    ]


def _padded(rows: Sequence[Sequence[int]], fill: int, device: str) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], True, fill).to(device)


def _log_probabilities(model: Any, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Of each row's answer; causal attention needs no mask for padding on the right."""
    hidden = model.base_model(ids, use_cache=False).last_hidden_state[:, :-1]
    answer = labels[:, 1:] != -100
    logits = model.get_output_embeddings()(hidden[answer]).float()
    found = -functional.cross_entropy(logits, labels[:, 1:][answer], reduction="none")
    return torch.zeros(answer.shape, device=ids.device).masked_scatter(answer, found).sum(1)


def reference(case: Case, parent: Path, device: str) -> Any:
    """What `Case.reference` is."""
    network = AutoModelForCausalLM.from_pretrained(parent, dtype=torch.float32).to(device)
    if needs_library_head(network):
        add_fused_lm_head(network)
    add_answer_head(network, statistics=False, pairs=True)
    found = np.zeros((2, len(case.lengths)), dtype=np.float32)
    places = sorted(range(len(case.lengths)), key=lambda place: case.lengths[place])
    for start in range(0, len(places), 16):
        batch = places[start : start + 16]
        found[:, batch] = reference_log_probabilities(network, case.data, batch, case.settings.dtype, device)
    return found


def now(device: str) -> float:
    """The clock of `comparing.in_turn`."""
    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def _begin(device: str) -> None:
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak(device: str) -> float:
    return torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else 0.0


def flops(case: Case) -> float:
    """Operations of the timed updates, of tokens that are there and of answers' logits alone.

    Forward 2 per weight and token, with the backward pass 6. Attention: products of queries and keys, and of their
    weights and values, each over half of the square. A pair's prompt counts once: that is all that has to be done, by
    whichever way, so what a way does twice lowers its MFU.
    """
    shape = neox_shape(case.shape.architecture, case.shape.vocabulary)
    body = shape.layer * shape.layers
    total = 0.0
    for place in case.timed:
        prompt, *answers = case.parts[place]
        squares = prompt**2 + sum((prompt + answer) ** 2 - prompt**2 for answer in answers)
        total += 6 * (body * (prompt + sum(answers)) + shape.embedding * sum(answers))
        total += 6 * shape.layers * shape.hidden_size * squares
    return total


def nano_case(kind: Kind, shape: Shape, parent: Path) -> Case:
    """The embedded study's stage: its data, batch size and settings."""
    tokenizer = AutoTokenizer.from_pretrained(parent)
    warm, updates = (10, 40) if kind == "sft" else (2, 6)
    common: dict[str, Any] = {"betas": (0.9, 0.98), "weight_decay": 0.0, "max_length": 128, "too_long": "error"}
    common |= {"clip": 1.0, "dtype": "float32", "group_by_length": True, "schedule": "constant"}
    path = parent / "data.parquet"
    data: Data
    if kind == "sft":
        settings: Any = sft.SftSettings(**common, learning_rate=1e-3, batch_size=16)
        table = World().answers(16 * (warm + updates + 1), 0).to_pydict()
        encoded = encode(tokenizer, HUMAN, table["prompt"], [table["completion"]])
        data = labelled(encoded, settings.max_length, "error", path)
    else:
        settings = dpo.DpoSettings(
            **common, learning_rate=1e-4, optimizer="adamw", batch_size=64, warmup_steps=0, log_every=2
        )
        table = World().preferences(64 * (warm + updates + 1), 0).to_pydict()
        encoded = encode(tokenizer, HUMAN, table["prompt"], [table["chosen"], table["rejected"]])
        data = paired(encoded, settings.max_length, settings.max_prompt_length, "error", path)
    size = f"batches of {settings.batch_size}"
    return Case(f"{shape.name}, nano data, {size}", kind, shape, data, settings, Layout(), warm, updates)


def dialogue_case(kind: Kind, shape: Shape, batch: int, warm: int, updates: int, grouped: bool, device: str) -> Case:
    """Rows as long as dialogues of helpful-harmless are, about: prompts of 150 tokens in the median, answers of 70.

    Both log-normal (σ = 0.8), prompts of at most 256 and answers of at most 256 tokens; random tokens.
    """
    chance = np.random.default_rng(0)
    examples = batch * (warm + updates + 1)

    def drawn(median: int) -> list[list[int]]:
        found = np.clip(median * chance.lognormal(0, 0.8, examples), 4, LONGEST // 2).astype(int)
        return [chance.integers(1, shape.vocabulary, each).tolist() for each in found]

    common: dict[str, Any] = {"max_length": LONGEST, "batch_size": batch, "group_by_length": grouped, "log_every": warm}
    common |= {"dtype": "bfloat16" if device == "cuda" else "float32", "schedule": "constant", "save_every": 100 * warm}
    prompts, answers = drawn(150), drawn(70)
    if kind == "sft":
        settings: Any = sft.SftSettings(**common)
        data = {
            "input_ids": [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)],
            "labels": [[*([-100] * len(prompt)), *answer] for prompt, answer in zip(prompts, answers, strict=True)],
        }
    else:
        settings = dpo.DpoSettings(**common, warmup_steps=0)
        data = {"prompt_ids": prompts, "chosen_ids": answers, "rejected_ids": drawn(70)}
    order = "grouped by length" if grouped else "in random order"
    name = f"{shape.name}, dialogues of up to {LONGEST} tokens, batches of {batch} {order}"
    layout = Layout()
    if device == "cuda":
        memory = torch.cuda.get_device_properties(0).total_memory / 1e9
        training = Training(
            neox_shape(shape.architecture, shape.vocabulary),
            "answers" if kind == "sft" else "pairs",
            batch,
            LONGEST,
            examples,
            LONGEST,
            "bfloat16",
            moments=2 if settings.optimizer == "adamw" else 1,
        )
        found = choose_layout(training, Machine(gpus_per_node=1, gpu_memory_gb=memory), 1)
        assert found is not None
        layout = replace(found, accelerator="cuda")
        name += f", {layout.accumulation(batch)} passes"
    return Case(name, kind, shape, data, settings, layout, warm, updates)


def compare_on(case: Case, parent: Path, device: str, rounds: int, aim: str) -> Comparison:
    """Both ways in turn; medians."""
    if case.kind == "dpo":
        case.reference = reference(case, parent, device)
    ways = {"ours": study_way, "bare": bare_way}
    found: dict[str, list[Timing]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(way(case, parent, device))
    taken = {name: statistics.median(each.seconds for each in timings) for name, timings in found.items()}
    ours, bare = found["ours"][0].losses, found["bare"][0].losses
    more: dict[str, float | str] = {"ms per update": 1000 * taken["ours"] / case.updates}
    if device == "cuda":
        if any(name in torch.cuda.get_device_name() for name in ("H100", "H200")):
            more["MFU %"] = 100 * flops(case) / taken["ours"] / PEAK
            more["of the bare loop %"] = 100 * flops(case) / taken["bare"] / PEAK
        more["peak GB"] = found["ours"][0].peak_gb
    return Comparison(
        case=case.name,
        ours="the trainer",
        other="bare loop",
        ours_seconds=taken["ours"],
        other_seconds=taken["bare"],
        aim=aim,
        lower=True,
        work=float(sum(sum(prompt + answer for answer in answers) for prompt, *answers in _timed_parts(case))),
        unit="tokens",
        difference=max(abs(one - two) for one, two in zip(ours, bare, strict=True)),
        more=more,
    )


def _timed_parts(case: Case) -> list[tuple[int, ...]]:
    parts = case.parts
    return [parts[place] for place in case.timed]


def compare(kind: Kind, device: str) -> list[Comparison]:
    """The subjects `sft` and `dpo`."""
    found = []
    for shape in SHAPES[device]:
        with tempfile.TemporaryDirectory() as directory:
            parent = Path(directory)
            make_model(shape, parent)
            if device == "cuda":
                aim = f"MFU ≥ {45 if kind == 'sft' else 40} %"
                for grouped in (False, True):
                    case = dialogue_case(kind, shape, 64, 5, 15, grouped, device)
                    found.append(compare_on(case, parent, device, 1, aim))
            else:
                found.append(compare_on(nano_case(kind, shape, parent), parent, device, 3, "≤ 1.5"))
    return found
