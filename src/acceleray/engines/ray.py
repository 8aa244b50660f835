"""A Ray instance of our own on this machine: loopback, its own token, quiet, gone when the work is done."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from acceleray.errors import EngineUnavailableError

__all__ = ["KEPT_HEAP", "ONE_THREAD", "cpus", "session"]

# Bits depend on how BLAS and OpenMP split a sum, so each task computes with one thread; parallelism is tasks.
_HOME = "acceleray-ray-"
_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
ONE_THREAD = dict.fromkeys(_THREAD_LIMITS, "1")
# glibc gives every large array back to the system and asks for it anew with the next block, a page fault for
# each four kilobytes: a fifth of a pricing block's time. Up to 128 MB stay with the process instead.
KEPT_HEAP = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(128 << 20)}

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    # Each report of a Train worker waits for the controller's next poll; the default poll is two seconds.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TQDM_PATCH_PRINT": "0",
    # Tune's own handler would swallow Ctrl-C and return half a search.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}


@contextmanager
def session(
    *, cpus: int, log_directory: Path | None = None, object_store_bytes: int = 300_000_000
) -> Iterator[None]:
    """Start Ray with `cpus` CPUs and stop it at the end; an instance that is already up is used as it is.

    Parameters
    ----------
    cpus : int
        CPUs that Ray may schedule on. Results do not depend on it.
    log_directory : Path, optional
        Where Ray's logs are copied when it stops.
    object_store_bytes : int
        Shared memory for the object store.

    Raises
    ------
    EngineUnavailableError
        If Ray is not installed or does not start.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise EngineUnavailableError("Ray is not installed", hint="pip install 'acceleray[night]'") from error
    if ray.is_initialized():
        yield
        return
    # The path of Ray's sockets must stay below 108 bytes, so it cannot live in the run directory.
    _remove_left_behind()
    home = Path(tempfile.mkdtemp(prefix=f"{_HOME}{os.getpid()}-"))
    token = home / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    environment = ONE_THREAD | KEPT_HEAP | _SETTINGS | {"RAY_AUTH_TOKEN_PATH": str(token)}
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        try:
            # Ray reads its environment once, when it is imported, and keeps the last token.
            ray._raylet.Config.initialize("")
            ray._raylet.AuthenticationTokenLoader.instance().reset_cache()
            ray.init(
                num_cpus=cpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="error",
                object_store_memory=object_store_bytes,
                _node_ip_address="127.0.0.1",
                # Ray opens its folder to everybody; the one above it stays closed.
                _temp_dir=str(home / "r"),
            )
        except Exception as error:
            raise EngineUnavailableError(
                f"Ray did not start: {error}", hint="Look for the reason with `acceleray doctor`."
            ) from error
        if threading.current_thread() is threading.main_thread():
            # Ray takes SIGTERM for itself and would end the process without a word to the caller.
            signal.signal(signal.SIGTERM, on_terminate)
        yield
    finally:
        ray.shutdown()
        if log_directory is not None:
            logs = home / "r" / "session_latest" / "logs"
            if logs.is_dir():
                shutil.copytree(logs.resolve(), log_directory / "ray", dirs_exist_ok=True)
        shutil.rmtree(home, ignore_errors=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _remove_left_behind() -> None:
    """Remove the folders, tokens included, of our own sessions whose process was killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_HOME}*"):
        owner = folder.name.removeprefix(_HOME).split("-", 1)[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists() and folder.stat().st_uid == os.getuid():
            shutil.rmtree(folder, ignore_errors=True)


def cpus() -> int:
    """Count the CPUs of the running Ray instance."""
    import ray

    return int(ray.cluster_resources().get("CPU", 1))
