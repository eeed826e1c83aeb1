"""Draw one figure."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("pandas", "matplotlib.figure", "modecollapse.jobs.figures")
        from modecollapse.jobs.figures import plot

        names = [*job.spec["tables"], "candidates"]
        tables = {name: paths[0] for name in names if (paths := job.inputs(name))}
        plot(job.spec, tables, job.outputs())
