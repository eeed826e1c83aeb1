"""Write the tables of token-level statistics."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running(snakemake) as job:  # noqa: F821
        job.load("modecollapse.jobs.tables")
        from modecollapse.jobs.tables import tabulate_tokens

        tabulate_tokens(job.spec, job.inputs("documents"), job.inputs("vocabularies"), job.outputs())
