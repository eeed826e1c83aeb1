"""Have a model write preference pairs."""

from pathlib import Path

from modecollapse.jobs.answer_sources import AnswerSources
from modecollapse.jobs.running import NO_MODEL_NEEDS, running
from modecollapse.jobs.sampled_data import sample_pairs

if __name__ == "__main__":
    with running(polls=True) as job:
        job.do_without("pandas", *NO_MODEL_NEEDS)
        study, data = job.planned_sample()
        inputs = {name: Path(path) for name, path in job.snakemake.input.items()}
        prompts = inputs.pop("prompts")
        sample_pairs(
            job.spec,
            str(data),
            AnswerSources(reward=study.sampling(data).reward or "nothing", **inputs),
            prompts,
            Path(job.snakemake.output[0]),
            job.store,
            job.load,
        )
