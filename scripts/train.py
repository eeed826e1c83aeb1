"""Make one model."""

from pathlib import Path

from modecollapse.jobs.models import Inputs, make_model
from modecollapse.jobs.running import running
from modecollapse.methods import METHODS

if __name__ == "__main__":
    with running(snakemake) as job:  # noqa: F821
        job.load(*METHODS[job.spec["method"]].libraries)
        make_model(
            job.model(),
            job.spec,
            Inputs(**{name: Path(path) for name, path in job.snakemake.input.items()}),
            Path(job.snakemake.output.manifest).parent,
            job.store,
        )
