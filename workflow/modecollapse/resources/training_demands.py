"""What it takes to make models, and what goes into them."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from modecollapse.cells import Model, ModelData, ReferenceScores
from modecollapse.errors import StudyError
from modecollapse.methods.answers_file import ROWS_OF_A_PART
from modecollapse.methods.layout import Layout
from modecollapse.methods.ppo import PpoSettings
from modecollapse.methods.pretrain_settings import PretrainSettings
from modecollapse.methods.rejection_sft import RejectionSftSettings
from modecollapse.methods.rollout_settings import RolloutSettings
from modecollapse.methods.settings import FineTuningSettings
from modecollapse.resources import inference
from modecollapse.resources.demand import CUDA_PROCESS, PROCESS, PROCESS_START, START, Demand
from modecollapse.resources.known import Known
from modecollapse.resources.rollout_demands import rollout_training
from modecollapse.resources.shapes import Shape
from modecollapse.resources.training import (
    GB,
    Adapter,
    Training,
    choose_layout,
    divisors,
    process_bytes,
    state_on_disk,
    training_seconds,
)

if TYPE_CHECKING:
    pass

_TEXT = 12
"""Bytes of memory per byte of text that is read, tokenized and held as lists of numbers."""


def _kept(settings: RejectionSftSettings, rows: int) -> int:
    """Answers that are trained on, at most."""
    prompts = min(rows, settings.prompts or rows)
    if settings.quantile is not None:
        return max(1, math.ceil(prompts * settings.n * (1 - settings.quantile)))
    return prompts * (settings.keep or 1)


class TrainingDemands(Known):
    """Demands of the jobs that make models."""

    def model(self, model: Model) -> Demand:
        """Training one model or one run of epochs, or taking weights over."""
        found: Demand = self.once(("model", model.size, self.study.run(model)[0].stage), lambda: self._model(model))
        return found

    def training(self, model: Model) -> Training:
        """What a training job trains.

        A row is as long as the settings allow; the work follows the tokens that the data has, if that is known.
        """
        stage, settings, shape = self.study.stage(model), self.study.settings(model), self.shape(model)
        assert stage.data is not None
        extent = self.extent(stage.data)
        if isinstance(settings, PretrainSettings):
            sequences = math.ceil(settings.tokens / (settings.batch_size * settings.sequence_length))
            return Training(
                shape=shape,
                kind="texts",
                batch=settings.batch_size,
                length=settings.sequence_length,
                examples=sequences * settings.batch_size,
                tokens=settings.sequence_length,
                save_every=settings.save_every,
                text_tokens=settings.tokens,
                whole=True,
            )
        if isinstance(settings, RolloutSettings | PpoSettings):
            return rollout_training(self, model, settings)
        assert isinstance(settings, FineTuningSettings)
        method = self.study.method(model)
        assert method is not None
        apart = 2 if method.takes_pairs_apart else 1
        rows = 2 if method.pairs else 1
        row, count = extent.tokens_of_a_row(settings.max_length), extent.rows
        if isinstance(settings, RejectionSftSettings):
            count = _kept(settings, extent.rows)
        lora = settings.lora
        return Training(
            shape=shape,
            kind="scored pairs" if method.scores else "pairs" if method.pairs else "answers",
            batch=settings.batch_size,
            length=settings.max_length,
            examples=count * apart * settings.epochs,
            # Rows are padded to the longest of their batch.
            tokens=min(settings.max_length, 1.5 * row) * rows,
            dtype=settings.dtype,
            moments=2 if settings.optimizer == "adamw" else 1,
            adapter=None if lora is None else Adapter(lora.rank, lora.quantization is not None),
            save_every=settings.save_every,
            text_tokens=count * row * apart * rows,
            whole=method.needs_whole_batch is not None and method.needs_whole_batch(settings),
            forward_passes=method.forward_passes,
        )

    def layout(self, model: Model) -> Layout:
        """How a training job is spread.

        Raises:
            StudyError: it fits on no number of GPUs of a node.
        """
        found: Layout = self.once(("layout", model.size, model.stage), lambda: self._layout(model))
        return found

    def _layout(self, model: Model) -> Layout:
        job, machine = self.training(model), self.machine
        key, asked = machine.gpus_asked(model.size)
        method = self.study.method(model)
        assert method is not None
        alone = job.whole or not method.several_processes
        gpus = 1 if alone else asked
        layout = choose_layout(job, machine, gpus)
        if layout is not None:
            return layout
        stage = self.study.runs.run_of(model.stage) or model.stage
        most = gpus or max(divisors(job.batch, machine.gpus_per_node))
        best = Layout(most, 3 if most > 1 and not job.whole and not job.adapter else 0, job.batch if job.whole else 1)
        needed = process_bytes(job, best, on_gpu=True) / GB
        shape = self.shape(model)
        guess = (
            f" Nothing is known of the model yet: state models.{model.size}.shape, or download it."
            if shape.assumed
            else ""
        )
        more = f"raise {key}, " if gpus and gpus < machine.gpus_per_node and not alone else ""
        raise StudyError(
            f"{self.study.file}: stages.{stage} ({model}): {shape.parameters / 1e9:.2f} billion parameters, "
            f"{job.batch} {'pairs' if job.rows == 2 else 'examples'} per update and {job.length} tokens need "
            f"{needed:.0f} GB on each of {most} GPUs{' with ZeRO-3' if best.zero_stage == 3 else ''} even one at a "
            f"time, but machine.gpu_memory_gb is {machine.gpu_memory_gb:g} (gpus_per_node {machine.gpus_per_node}). "
            f"Train an adapter (stages.{stage}.lora, with quantization: nf4 if need be), {more}use larger GPUs or "
            f"nodes with more of them, or lower stages.{stage}.max_length.{guess}"
        )

    def _model(self, model: Model) -> Demand:
        method = self.study.method(model)
        assert method is not None
        shape = self.shape(model)
        if not method.trains:
            return self._taken_over(model, shape)
        job, layout, machine = self.training(model), self.layout(model), self.machine
        count = layout.processes
        peak = process_bytes(job, layout, machine.computes_on_gpus)
        text = _TEXT * 3 * job.text_tokens
        if machine.computes_on_gpus:
            # Every process loads its model in main memory first; the first one also writes it.
            loading = 4.0 * shape.parameters * (count + 1)
            memory = count * (CUDA_PROCESS + text) + loading
        else:
            memory = count * (PROCESS + text + peak)
        kept = len(self.study.run(model))
        seconds = training_seconds(job, layout, machine, self.threads) + inference.loading_seconds(shape)
        seconds += self._sampling_seconds(model)
        return Demand(
            memory=memory,
            seconds=seconds + START + (PROCESS_START if count > 1 else 0),
            disk=4.0 * shape.parameters * kept,
            # While it is published, the new model lies beside the state.
            temporary=state_on_disk(job),
            gpus=count if machine.on_gpus else 0,
            device=peak if machine.on_gpus else 0,
            layout=layout,
            cores=self.threads * count,
            resumes=True,
        )

    def _sampling_seconds(self, model: Model) -> float:
        """Of answers that a stage samples from its parent before it trains."""
        settings, stage = self.study.settings(model), self.study.stage(model)
        if not isinstance(settings, RejectionSftSettings):
            return 0.0
        assert stage.data is not None
        rows = settings.n * min(self.extent(stage.data).rows, settings.prompts or math.inf)
        return self.answers_seconds(model, self.study.reward(model), int(rows), settings.n, settings.max_new_tokens)

    def sampled_data(self, data: ModelData) -> Demand:
        """A data set that a model writes; one for all seeds."""
        key = ("sampled_data", data.size, data.data)
        found: Demand = self.once(key, lambda: self._sampled_data(data))
        return found

    def _sampled_data(self, data: ModelData) -> Demand:
        sampled, writer, judge = self.study.sampling(data), self.study.writer(data), self.study.judge(data)
        prompts = min(self.extent(sampled.prompts).rows, sampled.count or math.inf)
        rows = int(prompts * sampled.n)
        dtype, shape = self.study.config.generation.dtype, self.shape(writer)
        job = self._part_of_answers(writer, rows, sampled.n, sampled.max_new_tokens)
        peak = inference.generation_bytes(job, self.machine)
        if judge is not None:
            scored = self.scored_answers(judge, rows, 2 * sampled.max_new_tokens)
            peak += inference.pair_scoring_bytes(scored, self.machine.computes_on_gpus)
        seconds = self.answers_seconds(writer, judge, rows, sampled.n, sampled.max_new_tokens)
        demand = self.with_model(peak, shape, seconds, 2.0 * rows * sampled.max_new_tokens * 4, dtype)
        # Token ids and texts, as lists of Python.
        return replace(demand, memory=demand.memory + rows * (sampled.max_new_tokens * 40.0 + 1000))

    def own_answers(self, data: ModelData) -> Demand:
        """What the scorer of a perplexity filter answers itself; one for all seeds."""
        found: Demand = self.once(("own_answers", data.size, data.data), lambda: self._own_answers(data))
        return found

    def _own_answers(self, data: ModelData) -> Demand:
        settings, scorer = self.study.filter(data), self.study.scorer(data)
        prompts = sum(self.extent(name).rows for name in self.study.asked_sets(data))
        rows = int(min(prompts, settings.count or math.inf) * settings.n)
        job = self._part_of_answers(scorer, rows, settings.n, settings.max_new_tokens)
        scored = self.scored_answers(scorer, rows, settings.max_length)
        peak = inference.generation_bytes(job, self.machine)
        peak += inference.pair_scoring_bytes(scored, self.machine.computes_on_gpus)
        seconds = self.answers_seconds(scorer, scorer, rows, settings.n, settings.max_new_tokens)
        disk = 2.0 * rows * settings.max_new_tokens * 4
        demand = self.with_model(peak, self.shape(scorer), seconds, disk, "float32")
        # Token ids and texts, as lists of Python.
        return replace(demand, memory=demand.memory + rows * (settings.max_new_tokens * 40.0 + 1000))

    def _part_of_answers(self, model: Model, rows: int, n: int, new_tokens: int) -> inference.Generating:
        shape, part = self.shape(model), max(1, ROWS_OF_A_PART // n) * n
        return inference.Generating(
            shape=shape,
            cells=math.ceil(rows / part),
            rows=min(part, rows),
            prompts=part // n,
            prompt_length=max(1, (shape.context or 2048) // 2),
            new_tokens=new_tokens,
            rows_per_batch=None,
            dtype="float32",
        )

    def answers_seconds(self, model: Model, reward: Model | None, rows: int, n: int, new_tokens: int) -> float:
        """Of so many answers, n to each prompt, and their scores."""
        job = self._part_of_answers(model, rows, n, new_tokens)
        seconds = inference.generation_seconds(job, self.machine, self.threads)
        return seconds + self.scores_seconds(reward, rows, 2 * new_tokens)

    def reference_scores(self, scores: ReferenceScores) -> Demand:
        """What a model gives to preference pairs; one for all seeds."""
        key = ("reference_scores", scores.model.size, scores.model.stage, scores.pairs)
        found: Demand = self.once(key, lambda: self._reference_scores(scores))
        return found

    def _reference_scores(self, scores: ReferenceScores) -> Demand:
        from modecollapse.methods.reference_file import POSITIONS

        shape, extent, settings = self.shape(scores.model), self.extent(scores.data), scores.settings
        row = extent.tokens_of_a_row(settings.max_length)
        job = inference.PairScoring(
            shape=shape,
            pairs=extent.rows,
            tokens=2.0 * extent.rows * row,
            positions=max(POSITIONS["cuda" if self.machine.computes_on_gpus else "cpu"], 2 * settings.max_length),
            length=settings.max_length,
            dtype=settings.dtype,
        )
        seconds = inference.pair_scoring_seconds(job, self.machine, self.threads)
        peak = inference.pair_scoring_bytes(job, self.machine.computes_on_gpus)
        # Token ids of both rows, and the texts that they come from.
        text = _TEXT * 3 * job.tokens
        demand = self.with_model(peak, shape, seconds, 2 * 20.0 * job.pairs, "float32")
        return replace(demand, memory=demand.memory + text)

    def _taken_over(self, model: Model, shape: Shape) -> Demand:
        """Linked, copied, converted, or merged with an adapter, which is done in float32 on a processor."""
        if (base := self.study.adapted(model)) is not None:
            size = (shape.stored_bytes if self.study.stage(base).has("copies_source") else 4) * float(shape.parameters)
            # Read to be verified: the base, and the merged weights in float32.
            read = 2 * (size + 4.0 * shape.parameters)
            return Demand(memory=PROCESS, seconds=START + read / (0.3 * GB), disk=size, cores=self.threads)
        merges = self.study.stage(model).has("merges_adapter")
        memory = PROCESS + (2 * 4 * shape.parameters if merges else 2 * shape.stored_bytes * shape.parameters)
        size = shape.stored_bytes * float(shape.parameters)
        return Demand(memory=memory, seconds=START + 6 * size / (0.3 * GB), disk=size, cores=self.threads)
