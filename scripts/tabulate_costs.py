"""Tabulate how far stages are from their reference, and what diversity they cost for the quality they gain."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.tables")
        from modecollapse.jobs.tables import tabulate_costs

        tabulate_costs(job.spec, job.inputs("scores"), job.inputs("divergences"), job.inputs("truth"), job.outputs())
