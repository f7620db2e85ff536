"""Many machines: a queue of tasks, and workers that drive one attempt a job.

The queue is Procrastinate's, in a schema of its own beside the journals of one PostgreSQL server.
It says who is to do what; what happened is in the journals alone.
"""

from self_coding.fleet.jobs import Job
from self_coding.fleet.service import Fleet

__all__ = ["Fleet", "Job"]
