"""Tabulate what candidates are judged by beside their guard rails."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.tables")
        from modecollapse.jobs.tables import tabulate_merits

        [judged] = job.inputs("judged")
        tabulate_merits(job.spec, judged, job.inputs("costs"), job.inputs("win_rates"), job.outputs())
