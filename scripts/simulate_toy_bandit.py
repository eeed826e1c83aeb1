"""Write the toy bandit."""

from modecollapse.jobs.running import running

if __name__ == "__main__":
    with running() as job:
        job.load("modecollapse.jobs.toy_bandit")
        from modecollapse.jobs.toy_bandit import simulate_toy_bandit

        simulate_toy_bandit(job.spec, job.outputs())
