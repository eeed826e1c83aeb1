"""Write the table of reward models."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.tables")
        from modecollapse.jobs.tables import tabulate_rewards

        tabulate_rewards(job.spec, job.inputs("scores"), job.outputs())
