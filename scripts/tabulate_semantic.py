"""Write the tables of semantic modes."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.tables")
        from modecollapse.jobs.tables import tabulate_semantic

        tabulate_semantic(job.spec, job.inputs("values"), job.inputs("found"), job.outputs())
