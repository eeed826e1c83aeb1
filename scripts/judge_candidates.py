"""Tabulate which stages fall below their reference on benchmarks."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.tables")
        from modecollapse.jobs.tables import judge_candidates

        judge_candidates(job.spec, job.inputs("samples"), job.outputs())
