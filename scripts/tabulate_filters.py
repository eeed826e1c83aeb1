"""Write the tables of data sets that are made from others."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.tables")
        from modecollapse.jobs.tables import tabulate_filters

        tabulate_filters(job.spec, job.inputs("data"), job.outputs())
