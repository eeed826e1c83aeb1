"""Write the tables of benchmarks."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.tables")
        from modecollapse.jobs.tables import tabulate_benchmarks

        tabulate_benchmarks(job.spec, job.inputs("results"), job.inputs("samples"), job.outputs())
