"""What Snakemake's own scheduling costs."""

from typing import Any

_DEFAULT = (100, 1)
"""Jobs and seconds of `--max-jobs-per-timespan` where nobody says anything."""


def stop_looking_again(scheduler: Any) -> None:
    """Take the default limit of 100 jobs a second off Snakemake's scheduler, which no job here comes near.

    For its sake Snakemake 9.27 looks at all ready jobs again a second after every look at them. Each job that ends adds
    one such endless chain, so that a run of N jobs comes to look N times a second, with the resources of every ready
    job computed anew. A limit that somebody stated stays.

    Args:
        scheduler: the `JobScheduler` of a run that has not begun.
    """
    limiter = scheduler.job_rate_limiter
    if limiter is not None and (limiter.max_jobs, limiter.timespan) == _DEFAULT:
        scheduler.job_rate_limiter = None
