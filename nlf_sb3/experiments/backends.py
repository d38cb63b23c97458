"""Where runs run: a backend of joblib by name, and Dask's cluster for whoever outgrows one machine."""

from __future__ import annotations

import logging
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from joblib import Parallel, effective_n_jobs, parallel_config
from joblib.parallel import BACKENDS, EXTERNAL_BACKENDS, get_active_backend

from nlf_sb3.errors import require

_SECONDS_FOR_A_WORKER = 60
_ALONE = "and each run needs a process of its own: the generators that its seed sets are the process's."
# One thread each, no limit of memory, a port that is free; and an interrupt in the terminal is for this process to answer.
_AS_JOBLIBS_OWN = {
    "threads_per_worker": 1,
    "dashboard_address": "127.0.0.1:0",
    "memory_limit": 0,
    "silence_logs": logging.ERROR,
    "preload": "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)",
}


@contextmanager
def workers(
    backend: str, jobs: int, *, lost: Callable[..., Any], address: str | None = None, register: str | None = None
) -> Iterator[tuple[Parallel, int]]:
    """
    Workers for as long as the context lasts.

    :param backend: Name of the backend, as joblib knows it
    :param jobs: Processes, where the backend doesn't count its own
    :param lost: What stands for the result of a call whose worker died: called with the call's arguments and ``error=``
    :param address: Dask's scheduler; None for ``DASK_SCHEDULER_ADDRESS``, or else a cluster of ``jobs`` processes here
    :param register: ``package.module:function`` that registers the backend with joblib
    :return: What calls functions there, and how many go at a time. Results come as they are there, where the backend can
    :raises ValueError: If there is no such backend, or several calls would share a process
    """
    if register is not None:
        _call(register)
    if backend not in {*BACKENDS, *EXTERNAL_BACKENDS}:
        raise ValueError(
            f"backend: got {backend!r}, expected one that joblib knows ({', '.join(sorted({*BACKENDS, *EXTERNAL_BACKENDS}))}) "
            "or that a package registers with it: name the function that does, as in "
            "--backend ray --register ray.util.joblib:register_ray."
        )
    if address is not None and backend != "dask":
        raise ValueError(f"address: got {address!r}, which is Dask's; the backend is {backend}.")
    with ExitStack() as stack:
        if backend == "dask":
            on_cluster, size = stack.enter_context(_dask(jobs, address, lost))
            stack.enter_context(parallel_config(backend=on_cluster))
        else:
            stack.enter_context(parallel_config(backend=backend))
            size = effective_n_jobs(jobs)
        active, _ = get_active_backend()
        if getattr(active, "uses_threads", False) and size > 1:
            raise ValueError(f"backend: {backend} would run {size} at a time in one process, {_ALONE}")
        yield (
            Parallel(
                n_jobs=jobs,
                return_as="generator_unordered" if active.supports_return_generator else "list",
                batch_size=1,
                # A cluster holds the queue: workers that join it later find something to do.
                pre_dispatch="all" if backend == "dask" else "2 * n_jobs",
            ),
            size,
        )


def _call(name: str) -> None:
    try:
        function = pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"register: got {name!r}, expected package.module:function ({error}).") from error
    function()


@contextmanager
def _dask(jobs: int, address: str | None, lost: Callable[..., Any]) -> Iterator[tuple[Any, int]]:
    """A backend on the cluster at an address, or on one of this machine, and how many workers it has."""
    distributed: Any = require("distributed", "cluster", "The backend dask")
    import dask

    with ExitStack() as stack:
        address = address or dask.config.get("scheduler-address", None)
        cluster: Any = address
        if address is None:
            cluster = stack.enter_context(distributed.LocalCluster(n_workers=effective_n_jobs(jobs), **_AS_JOBLIBS_OWN))
        else:
            _check_address(address)
        client = stack.enter_context(distributed.Client(cluster, set_as_default=False))
        backend = _dask_backend(client, lost)
        try:
            backend.effective_n_jobs(jobs)  # waits for the first worker
        except TimeoutError as error:
            raise TimeoutError(
                f"{address}: found no worker in {_SECONDS_FOR_A_WORKER} s. Start some: dask worker {address} --nthreads 1"
            ) from error
        threads = client.nthreads()
        for worker, count in threads.items():
            if count > 1:
                raise ValueError(
                    f"{worker}: found {count} threads in a worker, {_ALONE} Start workers with one: "
                    f"dask worker {client.scheduler.address} --nworkers {count} --nthreads 1"
                )
        yield backend, len(threads)


def _check_address(address: str) -> None:
    """Refuse here what makes Dask's client wait for a minute before it does."""
    from distributed.comm.addressing import resolve_address

    try:
        resolve_address(address)
    except (ValueError, OSError) as error:
        raise ValueError(f"address: got {address!r}, expected Dask's scheduler, as tcp://scheduler:8786 ({error}).") from error


def _dask_backend(client: Any, lost: Callable[..., Any]) -> Any:
    """Joblib's backend, which would wait for ever for a call that Dask gives up, as where its worker dies."""
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):  # type: ignore[misc]
        def submit(self, func: Any, callback: Any = None) -> Any:
            future = super().submit(func, callback)

            def report(done: Any) -> None:
                if (error := done.exception()) is not None:
                    callback([lost(*arguments, error=error) for _, arguments, _ in func.items])

            future.add_done_callback(report)
            return future

        def effective_n_jobs(self, n_jobs: int) -> int:
            # At one, joblib would call here in place of the cluster, which may have a single worker or get more later.
            return max(2, int(super().effective_n_jobs(n_jobs)))

    return Backend(client=client, wait_for_workers_timeout=_SECONDS_FOR_A_WORKER)
