"""Pretraining of a small GPT-NeoX from nothing: packed documents, next-token loss, a plain loop."""

from modecollapse.methods.base import Method, TrainingJob, TrainingRecord
from modecollapse.methods.pretrain_settings import PretrainSettings


def run(job: TrainingJob) -> TrainingRecord:
    """Pretrain `job.architecture` on the documents in `job.data`.

    Raises:
        StudyError: no `text` column, no documents, sequences longer than the context, a tokenizer without end-of-text
            token, or a loss that is not finite.
    """
    from modecollapse.methods.pretrain_loop import train

    assert isinstance(job.settings, PretrainSettings)
    return train(job, job.settings)


METHOD = Method(
    name="pretrain",
    revision=1,
    settings=PretrainSettings,
    run=run,
    needs_parent=False,
    data_columns=("text",),
    modules=(
        "methods.pretrain",
        "methods.pretrain_loop",
        "methods.pretrain_settings",
        "data.columns",
        "methods.architecture",
        "methods.examples",
        "methods.layout",
        "methods.model_files",
        "methods.packing",
        "methods.processes",
        "methods.schedule",
        "prompts",
        "rendering",
    ),
    libraries=("torch", "transformers:GPTNeoXForCausalLM", "transformers:AutoTokenizer"),
)
