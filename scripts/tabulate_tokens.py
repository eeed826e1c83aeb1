"""Write the tables of token-level statistics."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.tables")
        from modecollapse.jobs.tables import tabulate_tokens

        tabulate_tokens(job.spec, job.inputs("documents"), job.inputs("vocabularies"), job.outputs())
