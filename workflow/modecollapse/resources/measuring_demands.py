"""What it takes to sample from finished models and to measure them."""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from modecollapse.cells import Model
from modecollapse.judging.comparisons import Comparisons, Judgement
from modecollapse.methods.best_of_n import BestOfNSettings
from modecollapse.methods.settings import FineTuningSettings
from modecollapse.resources import inference
from modecollapse.resources.demand import ANALYSIS, CUDA_PROCESS, PROCESS, START, Demand
from modecollapse.resources.known import Known
from modecollapse.resources.training import (
    GB,
)

if TYPE_CHECKING:
    pass

_EMBEDDER = 4.0 * GB
"""Memory of a GPU for an embedder and a batch of long texts."""

_ASKED_TOKENS = 256
"""Tokens of a prompt of the creativity measures, at most."""

_PIPELINE = 1.0 * GB
"""Memory of a process with a pipeline of spaCy and its table of words."""

_TEXTS_PER_SECOND = 40.0
"""Texts of some 200 words whose features one process computes, about."""

_REPLIES_PER_SECOND = 0.5
"""Of one request of a judge at a time, about."""


class MeasuringDemands(Known):
    """Demands of the jobs that use finished models and their completions."""

    def generation(self, model: Model) -> Demand:
        """All cells of a model."""
        return self.of_model(self._generation, model)

    def choice(self, model: Model) -> Demand:
        """All cells of a stage that chooses: n candidates per completion, and their scores."""
        return self.of_model(self._choice, model)

    def _choice(self, model: Model) -> Demand:
        study, settings = self.study, self.study.settings(model)
        assert isinstance(settings, BestOfNSettings)
        sampled = self._generation(model, settings.n)
        rows = settings.n * self._completions * len(study.cells(model))
        # Texts, log-probabilities and token ids of the candidates, as lists of Python; the state that keeps them.
        each = study.config.generation.max_new_tokens * 60.0 + 500
        sampled = replace(sampled, memory=sampled.memory + rows * each, temporary=rows * each / 4)
        reward, length = study.reward(model), 2 * study.config.generation.max_new_tokens
        sampled = replace(sampled, seconds=sampled.seconds + self.scores_seconds(reward, rows, length))
        if reward is None:
            return sampled
        peak = inference.pair_scoring_bytes(self.scored_answers(reward, rows, length), self.machine.computes_on_gpus)
        scored = self.with_model(peak, self.shape(reward), 0.0, 0.0, "float32")
        return replace(
            sampled,
            memory=max(sampled.memory, scored.memory + rows * each),
            device=max(sampled.device, scored.device),
        )

    def _generation(self, model: Model, candidates: int = 1) -> Demand:
        settings, shape = self.study.config.generation, self.shape(model)
        served = settings.engine == "vllm"
        prompts = max(len(each.prompts) for each in self.study.prompts.values())
        texts = (f"{each.text or ''}{each.start}" for every in self.study.prompts.values() for each in every.prompts)
        job = inference.Generating(
            shape=shape,
            cells=len(self.study.cells(model)),
            rows=prompts * settings.completions * candidates,
            prompts=prompts,
            # A token is a byte at least; a format adds its own words.
            prompt_length=max((len(text.encode()) for text in texts), default=0) // 2 + 64,
            new_tokens=settings.max_new_tokens,
            rows_per_batch=settings.rows_per_batch or (inference.SERVED_ROWS if served else None),
            dtype=settings.dtype,
        )
        seconds = inference.generation_seconds(job, self.machine, self.threads)
        # Text and log-probabilities, once as an output and once in the store.
        disk = 2.0 * job.cells * (job.rows / candidates * (job.new_tokens * 8 + 20) + 10_000)
        if not served:
            return self.with_model(inference.generation_bytes(job, self.machine), shape, seconds, disk, job.dtype)
        peak = inference.served_bytes(job, self.machine)
        demand = self.with_model(peak, shape, seconds + inference.SERVER_START, disk, job.dtype)
        # The job itself and the server's front hold no weights.
        return replace(demand, memory=demand.memory + 2 * PROCESS)

    def tokens(self, model: Model) -> Demand:
        """Token statistics of a model."""
        return self.of_model(self._tokens, model)

    def _tokens(self, model: Model) -> Demand:
        from modecollapse.measures.tokens import batch_positions

        settings, shape = self.study.config.measures.tokens, self.shape(model)
        assert settings is not None
        extent = self.extent(settings.data)
        documents = min(extent.rows, settings.documents)
        device = "cuda" if self.machine.computes_on_gpus else "cpu"
        job = inference.Scoring(
            shape=shape,
            tokens=documents * (extent.tokens or 2 * settings.context),
            documents=documents,
            batch=max(settings.context, batch_positions(settings, device)),
            groups=settings.groups,
            dtype=settings.dtype,
            reference=self.study.first(model) != model,
        )
        seconds = inference.scoring_seconds(job, self.machine, self.threads)
        peak = inference.scoring_bytes(job, self.machine.computes_on_gpus)
        models, disk = 2 if job.reference else 1, 2.0 * (job.groups + 1) * shape.vocabulary * 8 + 200.0 * documents
        return self.with_model(peak, shape, seconds, disk, job.dtype, models)

    def divergence(self, model: Model) -> Demand:
        """Sampling from a model, and running its answers through it and its reference."""
        return self.of_model(self._divergence, model)

    def _divergence(self, model: Model) -> Demand:
        settings, generation = self.study.config.measures.divergence, self.study.config.generation
        assert settings is not None
        sampled, shape = self._generation(model), self.shape(model)
        answers = settings.samples * sum(len(each.prompts) for each in self.study.prompts.values())
        job = inference.Scoring(
            shape=shape,
            tokens=2.0 * answers * generation.max_new_tokens,
            documents=answers,
            batch=generation.max_new_tokens,
            groups=0,
            dtype="float32",
            reference=True,
        )
        on_gpu = self.machine.computes_on_gpus
        seconds = inference.scoring_seconds(job, self.machine, self.threads) + sampled.seconds
        peak = inference.scoring_bytes(job, on_gpu) + max(sampled.device, 0.0 if on_gpu else sampled.memory)
        return self.with_model(peak, shape, seconds, 2 * 60.0 * answers, job.dtype, 2)

    def benchmarks(self, model: Model) -> Demand:
        """All benchmarks of a model."""
        return self.of_model(self._benchmarks, model)

    def _benchmarks(self, model: Model) -> Demand:
        settings = self.study.config.measures.benchmarks
        assert settings is not None
        names = [task.name for task in self.study.benchmarks]
        job = self.benchmarking(model, [(name, shots) for name in names for shots in settings.shots_of(name)])
        seconds = inference.benchmark_seconds(job, self.machine, self.threads)
        return self.with_model(inference.benchmark_bytes(job), job.shape, seconds, 400 * job.documents, job.dtype)

    def rewards(self, model: Model) -> Demand:
        """What a reward model gives to pairs of answers."""
        return self.of_model(self._rewards, model)

    def _rewards(self, model: Model) -> Demand:
        from modecollapse.methods.reference_file import POSITIONS

        shape, settings = self.shape(model), self.study.settings(model)
        assert isinstance(settings, FineTuningSettings)
        extents = [self.extent(name) for name in self.study.reward_data(model).values()]
        pairs = sum(extent.rows for extent in extents)
        job = inference.PairScoring(
            shape=shape,
            pairs=pairs,
            tokens=sum(2.0 * extent.rows * extent.tokens_of_a_row(settings.max_length) for extent in extents),
            positions=max(POSITIONS["cuda" if self.machine.computes_on_gpus else "cpu"], settings.max_length),
            length=settings.max_length,
            dtype="float32",
        )
        seconds = inference.pair_scoring_seconds(job, self.machine, self.threads)
        peak = inference.pair_scoring_bytes(job, self.machine.computes_on_gpus)
        return self.with_model(peak + 1000.0 * pairs, shape, seconds, 2 * 60.0 * pairs, job.dtype)

    def judging(self, judgement: Judgement) -> Demand:
        """What one judge says of one model: a reward model scores, an endpoint is waited for, others take no time."""
        comparisons = Comparisons(self.study)
        assert comparisons.settings is not None
        prompts = sum(map(len, comparisons.prompts.values())) * len(comparisons.temperatures)
        rows = 2 * prompts * (comparisons.settings.completions or self.study.config.generation.completions)
        texts, disk = rows * (self.study.config.generation.max_new_tokens * 60.0 + 3000), rows * 1000.0
        reward, endpoint = comparisons.reward(judgement), comparisons.judges[judgement.judge].endpoint
        if reward is not None:
            length = 2 * self.study.config.generation.max_new_tokens
            peak = inference.pair_scoring_bytes(
                self.scored_answers(reward, rows, length), self.machine.computes_on_gpus
            )
            seconds = self.scores_seconds(reward, rows, length)
            scored = self.with_model(peak, self.shape(reward), seconds, disk, "float32")
            return replace(scored, memory=scored.memory + texts)
        seconds = START
        if endpoint is not None:
            pace = endpoint.concurrency * _REPLIES_PER_SECOND
            seconds += rows / min(pace, (endpoint.requests_per_minute or math.inf) / 60)
        return Demand(ANALYSIS + texts, seconds, disk)

    @cached_property
    def _completions(self) -> int:
        """Completions of a cell, at most."""
        prompts = max(len(each.prompts) for each in self.study.prompts.values())
        return prompts * self.study.config.generation.completions

    def cells_of_a_seed(self) -> int:
        """Cells of one size and seed."""
        stages = self.study.answering_stages
        count = sum(len(self.study.formats(stage)) for stage in stages) * len(self.study.prompts)
        return count * len(self.study.config.generation.temperatures)

    def embedding(self) -> Demand:
        """Sentence vectors of one size and seed: distinct texts, cut to each number of words."""
        texts = self.cells_of_a_seed() * self._completions * len(self.study.config.measures.diversity.words)
        return self._vectors(texts, texts * (1e-4 if self.machine.computes_on_gpus else 4e-3), 4000)

    def semantic(self, model: Model) -> Demand:
        """Similarities and clusters of the outputs of single prompts, and their sentence vectors."""
        settings = self.study.config.measures.semantic
        assert settings is not None
        prompts = sum(len(self.study.prompts[name].prompts) for name in settings.prompts)
        asked = prompts * len(self.study.formats(model.stage))
        texts = asked * self.study.config.generation.completions + len(settings.asked) * settings.completions
        return self._vectors(texts, texts * 2e-2 + (asked + len(settings.asked)) * 3.0, 8000)

    def experiments(self, model: Model) -> Demand:
        """What creativity measures sample from a model, and the sentence vectors that they find modes with."""
        return self.of_model(self._experiments, model)

    def _experiments(self, model: Model) -> Demand:
        study, shape = self.study, self.shape(model)
        sampled = [
            inference.Generating(
                shape=shape,
                cells=1,
                rows=outputs,
                prompts=prompts,
                prompt_length=_ASKED_TOKENS + (tokens if continued else 0),
                new_tokens=tokens,
                rows_per_batch=study.config.generation.rows_per_batch,
                dtype=study.config.generation.dtype,
            )
            for outputs, prompts, tokens, continued in self._asked()
        ]
        read = inference.Scoring(
            shape=shape,
            tokens=float(sum(job.rows * job.new_tokens for job in sampled)),
            documents=sum(job.rows for job in sampled),
            batch=max(job.new_tokens for job in sampled) + _ASKED_TOKENS,
            groups=0,
            dtype=study.config.generation.dtype,
            reference=False,
        )
        seconds = sum(inference.generation_seconds(job, self.machine, self.threads) for job in sampled)
        seconds += inference.scoring_seconds(read, self.machine, self.threads)
        peak = max(inference.generation_bytes(job, self.machine) for job in sampled)
        peak = max(peak, inference.scoring_bytes(read, self.machine.computes_on_gpus))
        texts = sum(job.rows for job in sampled) if study.config.measures.attractor else 0
        vectors = self._vectors(texts, texts * 2e-2, 8000) if texts else None
        disk = 2.0 * sum(job.rows * job.new_tokens * 150.0 for job in sampled)
        demand = self.with_model(peak, shape, seconds, disk, study.config.generation.dtype)
        if vectors is None:
            return demand
        return replace(
            demand,
            memory=demand.memory + vectors.memory - PROCESS,
            device=demand.device + vectors.device,
            seconds=demand.seconds + vectors.seconds,
        )

    def _asked(self) -> Iterator[tuple[int, int, int, bool]]:
        """(outputs, prompts, tokens, whether they continue others) of what the creativity measures sample."""
        measures = self.study.config.measures
        semantic, attractor, probes = measures.semantic, measures.attractor, measures.probes
        for each in (measures.personas, measures.top_entropy):
            if each is not None:
                yield each.completions, 1, each.max_new_tokens, False
        if semantic is not None and semantic.asked:
            outputs = len(semantic.asked) * semantic.completions * (3 if attractor else 1)
            yield outputs, len(semantic.asked), semantic.max_new_tokens, False
            if attractor is not None:
                arms = 4 * semantic.most_clusters
                yield arms * attractor.continuations, arms, semantic.max_new_tokens, True
        if probes is not None:
            asked = len(probes.continuations) + len(probes.responses) * probes.samples + len(probes.choices)
            yield asked, asked, probes.max_new_tokens, False

    def feature_answers(self, model: Model) -> Demand:
        """A model's answers to the prompts of pairs."""
        return self.of_model(self._feature_answers, model)

    def _feature_answers(self, model: Model) -> Demand:
        settings, generation = self.study.config.measures.text_features, self.study.config.generation
        assert settings is not None
        answers = self.compared_pairs() * settings.completions
        job = inference.Generating(
            shape=self.shape(model),
            cells=1,
            rows=answers,
            prompts=self.compared_pairs(),
            prompt_length=_ASKED_TOKENS,
            new_tokens=settings.max_new_tokens,
            rows_per_batch=generation.rows_per_batch,
            dtype=generation.dtype,
        )
        seconds = inference.generation_seconds(job, self.machine, self.threads)
        # Texts of four bytes for each token: in the store and in the output.
        disk = 2.0 * answers * settings.max_new_tokens * 4
        peak = inference.generation_bytes(job, self.machine)
        found = self.with_model(peak, job.shape, seconds, disk, job.dtype)
        return replace(found, memory=found.memory + answers * settings.max_new_tokens * 60.0, resumes=True)

    def pair_features(self, name: str) -> Demand:
        """The features of chosen and rejected answers."""
        settings = self.study.config.measures.text_features
        assert settings is not None
        return self._text_features(2 * min(self.extent(name).rows, settings.count or math.inf))

    def answer_features(self, model: Model) -> Demand:
        """The features of what a model answers."""
        settings = self.study.config.measures.text_features
        assert settings is not None
        return self._text_features(self.answer_texts())

    def answer_texts(self) -> int:
        """Answers of one model whose features are compared."""
        settings = self.study.config.measures.text_features
        assert settings is not None
        completed = sum(len(self.study.prompts[name].prompts) for name in settings.prompts)
        return self.compared_pairs() * settings.completions + completed * self.study.config.generation.completions

    def compared_pairs(self) -> int:
        """Preference pairs whose answers are compared, of both splits."""
        settings = self.study.config.measures.text_features
        assert settings is not None
        rows = (min(self.extent(name).rows, settings.count or math.inf) for name in settings.pair_sets)
        return int(sum(rows))

    def _text_features(self, texts: float) -> Demand:
        processes = self.machine.feature_processes
        return Demand(
            PROCESS + processes * _PIPELINE + texts * 6000.0,
            START + 20 + texts / (_TEXTS_PER_SECOND * processes),
            texts * 1300.0,
            cores=processes,
        )

    def personas(self) -> Demand:
        """Sentence vectors of one model's reviews, and their clusters; t-SNE's time and memory grow with n²."""
        settings = self.study.config.measures.personas
        assert settings is not None
        # A sentence of a review has ten tokens or more.
        texts = settings.completions * max(1, settings.max_new_tokens // 10)
        clustering = texts * settings.most_clusters * 5e-3 + texts**2 * 5e-5
        found = self._vectors(texts, texts * 4e-3 + clustering, 8000)
        return replace(found, memory=found.memory + texts**2 * 50.0)

    def _vectors(self, texts: int, seconds: float, bytes_per_text: int) -> Demand:
        """A job that embeds so many texts, and works for so long in all."""
        gpus = 1 if self.machine.on_gpus else 0
        return Demand(
            memory=(CUDA_PROCESS if self.machine.computes_on_gpus else PROCESS) + texts * bytes_per_text,
            seconds=START + seconds,
            disk=texts * 2 * 1700.0,
            gpus=gpus,
            device=_EMBEDDER if gpus else 0.0,
            cores=self.threads,
            resumes=True,
        )

    def repetition(self, model: Model) -> Demand:
        """Counts of one model's repetitive completions."""
        return Demand(ANALYSIS + self._completions * 4000, START + self._answers(model) * 1e-3, 2e6)

    def scoring(self, model: Model) -> Demand:
        """Scores of one model."""
        texts = self.cells_of_a_seed() * self._completions * len(self.study.config.measures.diversity.words)
        answers = self._answers(model)
        return Demand(ANALYSIS + texts * 4000, START + answers * 4e-3, answers * 200.0)

    def _answers(self, model: Model) -> int:
        """Completions of one model."""
        cells = len(self.study.formats(model.stage)) * len(self.study.prompts)
        return cells * len(self.study.config.generation.temperatures) * self._completions
