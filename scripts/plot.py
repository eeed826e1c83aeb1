"""Draw one figure."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("pandas", "matplotlib.figure", "modecollapse.jobs.figures")
        from modecollapse.jobs.figures import plot

        tables = {name: paths[0] for name in job.spec["tables"] if (paths := job.inputs(name))}
        plot(job.spec, tables, job.outputs())
