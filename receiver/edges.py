"""What the service meets outside itself; a test or a benchmark replaces some of it."""

import time
from collections.abc import Callable, Collection
from concurrent.futures import Executor
from dataclasses import dataclass

import httpx

from actions.aws.client_set import Aws
from actions.messaging import Messenger
from actions.place import Place
from models.features.evidence import Evidence
from models.inference.verdict import Verdict
from receiver.notify.channels import Channels
from receiver.runtime.pools import Pool
from receiver.workflow.durable_queue import DurableQueue, Phase


@dataclass(frozen=True, kw_only=True)
class Edges:
    """The defaults are those of `serve`; None stands for what the settings name.

    `aws_at` gives the clients of the accounts and regions of `accounts.yaml`. `messenger` takes the
    steps' messages in place of `channels`, `prometheus` the queries, and `alertmanager` the
    questions for alerts; `certificates` fetches those of Amazon SNS,
    `incidents` calls the channels that show incidents.
    `judge` answers in place of the model. `queue` gets the database's URL, the number of workers
    and the handler of a phase; `pool` the number of threads and their name. `clock` gives epoch
    seconds, `monotonic` measures the age of what is remembered.
    """

    aws: Aws | None = None
    aws_at: Callable[[Place], Aws] | None = None
    channels: Channels | None = None
    messenger: Messenger | None = None
    prometheus: httpx.Client | None = None
    alertmanager: httpx.Client | None = None
    certificates: httpx.Client | None = None
    incidents: httpx.Client | None = None
    judge: Callable[[Evidence, Collection[str]], Verdict] | None = None
    queue: Callable[[str, int, Callable[[Phase], None]], DurableQueue] = DurableQueue
    pool: Callable[[int, str], Executor] = Pool
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
