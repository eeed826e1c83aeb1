"""Write the table of annotators' agreement."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.tables")
        from modecollapse.jobs.tables import tabulate_label_agreement

        tabulate_label_agreement(job.spec, job.inputs("labels"), job.outputs())
