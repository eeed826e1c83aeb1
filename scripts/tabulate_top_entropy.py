"""Write the tables of entropy along outputs."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.probe_tables")
        from modecollapse.jobs.probe_tables import tabulate_top_entropy

        tabulate_top_entropy(job.spec, job.inputs("tokens"), job.outputs())
