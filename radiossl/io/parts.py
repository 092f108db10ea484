"""Work in parts, each of them a file: done by this process or by a Dask cluster, and never twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from radiossl.io.cores import cores
from radiossl.io.errors import RadiosslError, check_number, reason_of
from radiossl.io.extras import require
from radiossl.io.progress import track
from radiossl.io.signals import on_stop

if TYPE_CHECKING:
    from dask.distributed import Client

Job = TypeVar("Job")
Written = TypeVar("Written")

#: What a stopped command of this kind says.
GOES_ON = "run the same command again to continue"
#: Below this number of parts, starting processes costs more than it saves.
_FEW_PARTS = 3
#: How long to wait for a scheduler, and then for its first worker.
_CONNECT_SECONDS = 20
_WAIT_SECONDS = 120


def write_parts(
    parts: Sequence[tuple[Path, Job]],
    write: Callable[[Path, Job], Written],
    description: str,
    workers: int | None = 1,
    scheduler: str | None = None,
) -> dict[str, Written]:
    """Write those of the files that are not there yet, with `write(file, job)`, which uses `atomic_file`.

    Returns what `write` returned for each of those, by the name of the file.

    Dask runs a task again whose worker was killed, and now and then one whose worker only seemed dead. That makes no
    double, since the name of a part's file says which part it is. `write` and jobs must be picklable for other
    processes, and name files by their absolute paths.

    Above 1, `workers` are the processes of a Dask cluster that is started on this machine; None takes one per core if
    there are more than a few parts. With `scheduler`, the address of a running one, its workers do the work, however
    many they are; they must see the same files under the same names.

    Raises `RadiosslError` if the cluster cannot be reached or a part kills every worker, and whatever `write` raises;
    what is finished stays.
    """
    if workers is not None:
        check_number("--workers", workers, 1, whole=True)
    count = workers or (cores() if len(parts) > _FEW_PARTS else 1)
    if scheduler is not None or count > 1:
        require("distributed")
    missing = [(file.absolute(), job) for file, job in parts if not file.exists()]
    count = min(count, len(missing))
    with on_stop(GOES_ON):
        if missing and (scheduler is not None or count > 1):
            with _local_client(count) if scheduler is None else _client(scheduler) as client:
                written = _write_on(client, missing, write, description)
        else:
            written = {file.name: write(file, job) for file, job in track(missing, description)}
    lost = [file for file, _ in missing if not file.exists()]
    if lost:
        raise RadiosslError(
            f"{lost[0]}: a worker has written it, but it is not here; the workers must share this folder's file system"
        )
    return written


def _write_on(
    client: Client, missing: Sequence[tuple[Path, Job]], write: Callable[[Path, Job], Written], description: str
) -> dict[str, Written]:
    from dask.distributed import KilledWorker, as_completed
    from distributed.client import CancelledError

    futures = [client.submit(_write_once, write, file, job, pure=False) for file, job in missing]
    try:
        done = [future.result() for future in track(as_completed(futures), description, total=len(futures))]
    except KilledWorker as error:
        raise RadiosslError(
            f"one part killed {error.allowed_failures + 1} workers, usually out of memory; give each worker more"
            f" (fewer workers, a smaller --batch-size), then {GOES_ON}"
        ) from None
    except CancelledError:
        raise RadiosslError(f"the connection to the Dask scheduler was lost; {GOES_ON}") from None
    finally:
        client.cancel(futures)
    return dict(result for result in done if result is not None)


def _write_once(write: Callable[[Path, Job], Written], file: Path, job: Job) -> tuple[str, Written] | None:
    # A file that is there was finished by a worker that seemed dead.
    return None if file.exists() else (file.name, write(file, job))


@contextmanager
def _client(scheduler: str) -> Iterator[Client]:
    from dask.distributed import Client

    try:
        client = Client(scheduler, timeout=_CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        what = f"no Dask scheduler answers there ({reason_of(error)}); `dask scheduler` starts one"
        raise RadiosslError(f"--scheduler {scheduler}: {what}") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=_WAIT_SECONDS)
        except TimeoutError:
            what = f"no worker has joined it for {_WAIT_SECONDS} s; `dask worker {scheduler}` starts one"
            raise RadiosslError(f"--scheduler {scheduler}: {what}") from None
        yield client


@contextmanager
def _local_client(workers: int) -> Iterator[Client]:
    from dask.distributed import Client, LocalCluster

    # Without a limit of memory: Dask counts pages of mapped files, which cost nothing, and would stop the workers.
    options = {"processes": True, "memory_limit": 0, "dashboard_address": ":0"}
    with LocalCluster(n_workers=workers, threads_per_worker=1, **options) as cluster, Client(cluster) as client:
        yield client
