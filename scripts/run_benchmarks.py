"""Put one model to the study's benchmarks."""

from pathlib import Path

from modecollapse.jobs.benchmarks import run_benchmarks
from modecollapse.jobs.running import running
from modecollapse.specs import benchmarks_spec

if __name__ == "__main__":
    with running() as job:
        study, model = job.planned(benchmarks_spec)
        read, write = job.snakemake.input, job.snakemake.output
        run_benchmarks(
            study,
            model,
            job.spec,
            (Path(read.manifest), Path(read.weights)),
            (Path(write.results), Path(write.samples)),
            job.store,
            job,
        )
