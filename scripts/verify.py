"""Check everything that the study has published."""

from modecollapse.jobs.running import running
from modecollapse.jobs.verifying import verify

if __name__ == "__main__":
    from snakemake.script import snakemake

    with running(snakemake) as job:
        print(verify(job.study()))
