"""Write the attribution table."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.tables")
        from modecollapse.jobs.tables import attribute

        read = (job.inputs("scores"), job.inputs("documents"), job.inputs("vocabularies"))
        attribute(job.spec, *read, job.outputs())
