"""Have one judge compare the answers of one model with those of the reference."""

from pathlib import Path

from modecollapse.jobs.judging import judge
from modecollapse.jobs.running import NO_MODEL_NEEDS, running
from modecollapse.judging.comparisons import Comparisons

if __name__ == "__main__":
    with running() as job:
        job.do_without(*NO_MODEL_NEEDS)
        study, judgement = job.planned_judgement()
        reward = job.inputs("reward_manifest") + job.inputs("reward_weights")
        judge(
            job.spec,
            judgement,
            Comparisons(study),
            job.inputs("cells"),
            job.inputs("reference_cells"),
            (reward[0], reward[1]) if reward else None,
            Path(job.snakemake.output[0]),
            job,
        )
