"""What demands are computed from."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from modecollapse.cells import Model
from modecollapse.methods.reference_file import POSITIONS
from modecollapse.resources import inference
from modecollapse.resources.demand import CUDA_PROCESS, PROCESS, START, Demand
from modecollapse.resources.extents import Extent, extent_of
from modecollapse.resources.machine import Machine
from modecollapse.resources.shapes import Shape, shape_of

if TYPE_CHECKING:
    from modecollapse.study import Study


_DOCUMENTS, _REQUESTS, _QUESTION = 3000, 3, 120
"""Of a task of the hub, about: documents, requests of a document, and tokens of a question."""
_FUNCTION = 3e-4
"""Seconds in which a function scores an answer."""


class Known:
    """A study and a machine, and what is known of models and data; each is looked up once."""

    def __init__(self, study: "Study", machine: Machine) -> None:
        self.study, self.machine = study, machine
        self._kept: dict[tuple[Any, ...], Any] = {}

    def once(self, key: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
        """What `compute` gives; the same again for an equal `key`."""
        if key not in self._kept:
            self._kept[key] = compute()
        return self._kept[key]

    def of_model(self, compute: Callable[[Model], Demand], model: Model) -> Demand:
        """The demand that `compute` finds for a model; one for all seeds."""
        found: Demand = self.once((compute.__name__, model.size, model.stage), lambda: compute(model))
        return found

    def shape(self, model: Model) -> Shape:
        """The model's shape; one for all seeds and all stages that go back to the same weights."""
        origin = self.study.origin(model)
        shape: Shape = self.once(("shape", origin.size, origin.stage), lambda: shape_of(self.study, origin))
        return shape

    def extent(self, data: str) -> Extent:
        """The data set's extent."""
        extent: Extent = self.once(("extent", data), lambda: extent_of(self.study, data))
        return extent

    def benchmarking(
        self, model: Model, asked: Sequence[tuple[str, int]], limit: int | None = None
    ) -> inference.Benchmarking:
        """The work of putting a model to tasks, each with a number of shots, of `limit` documents at most."""
        settings, shape = self.study.config.measures.benchmarks, self.shape(model)
        assert settings is not None
        data = {task.name: task.settings.data for task in self.study.benchmarks}
        context, documents, tokens = shape.context or 2048, 0.0, 0.0
        for name, shots in asked:
            own = data[name]
            count = float(_DOCUMENTS) if own is None else self.extent(own).rows
            count = min(each for each in (count, settings.limit_of(name), limit) if each is not None)
            documents += count
            tokens += count * _REQUESTS * min(context, _QUESTION * (1 + shots))
        return inference.Benchmarking(
            shape=shape,
            documents=documents,
            requests=documents * _REQUESTS,
            tokens=tokens,
            batch=settings.batch_size,
            length=context,
            dtype=settings.dtype,
            tasks=len(asked),
        )

    def scores_seconds(self, reward: Model | None, rows: float, length: int) -> float:
        """Seconds of scoring so many answers of so many tokens, prompts included, by a model or by a function."""
        if reward is None:
            return rows * _FUNCTION
        job = self.scored_answers(reward, rows, length)
        return inference.pair_scoring_seconds(job, self.machine, self.threads)

    def scored_answers(self, reward: Model, rows: float, length: int) -> inference.PairScoring:
        """The work of a reward model that scores so many answers."""
        shape = self.shape(reward)
        length = min(shape.context or length, length)
        device = "cuda" if self.machine.computes_on_gpus else "cpu"
        return inference.PairScoring(
            shape=shape,
            pairs=int(rows / 2),
            tokens=rows * length,
            positions=max(POSITIONS[device], length),
            length=length,
            dtype="float32",
        )

    @property
    def threads(self) -> int:
        """Threads of every process."""
        return self.study.config.threads

    def with_model(
        self, device: float, shape: Shape, seconds: float, disk: float, dtype: str, models: int = 1
    ) -> Demand:
        """A job that only runs models forward: on one GPU where there is one, else in main memory.

        `device`: bytes there; `disk`: bytes that stay; `models` of this shape are loaded, in `dtype`.
        """
        weights = models * shape.parameters * inference.width(dtype)
        memory = inference.mapped_bytes(shape) + (
            CUDA_PROCESS + weights if self.machine.computes_on_gpus else PROCESS + device
        )
        gpus = 1 if self.machine.on_gpus else 0
        return Demand(
            memory=memory,
            seconds=START + seconds,
            disk=disk,
            gpus=gpus,
            device=device if gpus else 0,
            cores=self.threads,
            resumes=True,
        )
