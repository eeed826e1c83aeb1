"""Check everything that the study has published."""

from modecollapse.jobs.running import running
from modecollapse.jobs.verifying import verify

if __name__ == "__main__":
    with running() as job:
        print(verify(job.study()))
