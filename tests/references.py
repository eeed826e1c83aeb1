"""What the parent of a preference-tuning job gives to its pairs, for jobs that are run without a workflow."""

from pathlib import Path

from modecollapse.methods.base import TrainingJob
from modecollapse.methods.reference import score_pairs
from modecollapse.methods.reference_file import PairSettings
from modecollapse.methods.settings import FineTuningSettings
from modecollapse.sealed import write_sealed


def write_reference(job: TrainingJob, path: Path) -> Path:
    """Write the log-probabilities that the parent of a preference-tuning job gives to its pairs."""
    assert isinstance(job.settings, FineTuningSettings)
    shown, lora = job.settings.model_dump(include=set(PairSettings.model_fields)), job.settings.lora
    settings = PairSettings(**shown, quantization=lora.quantization if lora else None)
    assert job.parent is not None
    assert job.data is not None
    assert job.format is not None
    write_sealed(score_pairs(job.parent, job.data, job.format, settings, job.threads), path)
    return path
