"""An adapter that was trained here, kept apart from its base: the model as training saw it, with nothing merged.

The directory has the base's weights in `base/`, the adapter in `adapter/`, and `unmerged.json`, which says how the base
was held. The weights do not lie where others look for them, so that nobody takes the base for the tuned model.
"""

import json
import shutil
from dataclasses import asdict

from modecollapse.methods.base import AdaptedBase, Method, TrainingJob, TrainingRecord
from modecollapse.methods.lora import BASE, DIRECTORY, UNMERGED
from modecollapse.methods.model_files import copy_files, copy_tokenizer
from modecollapse.methods.weight_files import CONFIGURATION, find_weights, take_over
from modecollapse.schema import Strict


class UnmergedSettings(Strict):
    """The stage `from`, which is tuned with `lora`, with its adapter beside the weights that it was trained on and not
    merged into them. They are quantized if they were then (`lora.quantization`), and computed with in that stage's
    `dtype`. To be set beside the merged one; nothing can be tuned from it, and vLLM does not serve it."""


def run(job: TrainingJob) -> TrainingRecord:
    """Put the base, the adapter and the tokenizer into `job.output`; weights are linked where that is possible."""
    assert job.parent is not None
    assert job.adapted is not None
    base = job.output / BASE
    base.mkdir()
    take_over(find_weights(job.adapted.weights), base, link=True)
    copy_files(job.adapted.weights, base, CONFIGURATION)
    copy_files(job.adapted.weights, job.output, CONFIGURATION)
    copy_tokenizer(job.parent, job.output)
    shutil.copytree(job.parent / DIRECTORY, job.output / DIRECTORY, copy_function=shutil.copyfile)
    (job.output / UNMERGED).write_text(json.dumps(stated(job.adapted), indent=1) + "\n")
    return TrainingRecord(steps=0, tokens=0)


def stated(adapted: AdaptedBase) -> dict[str, str | None]:
    """How the base was held, without where it is."""
    return {name: value for name, value in asdict(adapted).items() if name != "weights"}


METHOD = Method(
    name="unmerged",
    revision=1,
    settings=UnmergedSettings,
    run=run,
    needs_parent=True,
    data_columns=(),
    modules=("methods.unmerged", "methods.lora", "methods.weight_files", "methods.model_files"),
    trains=False,
    keeps_adapter=True,
)
