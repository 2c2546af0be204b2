"""A service on a cluster: Ray Serve carries HTTP to the front, which is the application of one
machine (serve/app.py) with actors for processes.

The front keeps what has to be kept (jobs, uploads, avatars) in its data folder on the head
node; Serve begins it anew when it dies. It draws and encodes nothing.
"""

from __future__ import annotations

import logging
import os
import socket
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from personare.cluster.hired import absolute, hiring
from personare.cluster.joined import following, joined, ray_module
from personare.engines import DEFAULT_ENGINE
from personare.engines.engine import engine_entry_points
from personare.engines.neural import uses_gpu
from personare.errors import EngineError, InvalidOption, PersonareError
from personare.media.local import read_at_most
from personare.provenance.settings import read_marks_settings
from personare.serve.keys import read_keys
from personare.serve.live.opened import Wanted
from personare.serve.settings import ServeSettings
from personare.studio.checked import CheckedModel
from personare.studio.studio import Studio
from personare.types import Progress, no_progress

NAME = "personare"
_MAX_BYTES = 1 << 20
_REQUESTS = 1000


class Deployment(CheckedModel):
    """A service on a cluster."""

    WHAT: ClassVar[str] = "a deployment"

    on: str = Field(
        "ray", description="the cluster: ray (RAY_ADDRESS, or one started here) or ray://HOST:PORT"
    )
    cores: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        None, description="cores of a cluster that is started here; none: all"
    )
    spare: int = Field(1, ge=0, le=64, description="actors that wait on every node for the next session")
    gpu: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of a GPU that an actor of an engine with networks has; 0: what it finds",
    )
    api_keys: Path | None = Field(None, description="TOML file of callers, keys and quotas")
    service: ServeSettings = Field(ServeSettings(), description="the service, as `personare serve` has it")


def read_deployment(path: Path | None) -> Deployment:
    """A deployment of a TOML file; the defaults without one. Raises UnreadableMedia,
    InvalidOption.
    """
    if path is None:
        return Deployment()
    try:
        given = tomllib.loads(read_at_most(path, _MAX_BYTES).decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidOption(
            f"{path.name} is not TOML: {error}", hint="docs/scale.md has an example"
        ) from None
    return deployment_of(given, path.parent)


def deployment_of(given: dict[str, Any], folder: Path = Path()) -> Deployment:
    """A deployment of plain values. folder: that paths of keys are relative to. Raises
    UnreadableMedia, InvalidOption.
    """
    if "api_keys" not in given:
        return Deployment.model_validate(given)
    if not isinstance(given["api_keys"], str):
        raise InvalidOption("api_keys: a file's path", hint="docs/service.md has the format")
    service = given.get("service", {})
    keys = read_keys(folder / given["api_keys"])
    return Deployment.model_validate({**given, "service": {**service, "keys": keys}})


def run(
    deployment: Deployment,
    ready: Callable[[str], None],
    wait: Callable[[], None],
    progress: Progress = no_progress,
) -> None:
    """Serve on the cluster while `wait` waits. ready: told the address when it answers. Raises
    EngineError where ray is not installed or the cluster does not start.
    """
    with joined(deployment.on, progress, cores=deployment.cores):
        progress("starting the service", 0, None)
        with served(deployment) as url:
            ready(url)
            wait()


@contextmanager
def served(deployment: Deployment) -> Iterator[str]:
    """The address of a service on a joined cluster, while the block runs; then all of it ends.
    Raises EngineError if it does not start.
    """
    from ray import serve

    from personare.cluster import live_actors

    settings, ray = deployment.service, ray_module()
    port = settings.port or _free_port(settings.host)
    http: dict[str, Any] = {"host": settings.host, "port": port}
    if settings.certfile is not None:
        http |= {"ssl_certfile": str(settings.certfile), "ssl_keyfile": str(settings.keyfile)}
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    before = serve.status()
    others = bool(before.proxies or before.applications)  # somebody else's Serve, whose port holds
    try:
        try:
            serve.start(proxy_location="HeadOnly", http_options=http, logging_config={"log_level": "WARNING"})
            serve.run(_application(deployment), name=NAME, route_prefix="/")
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise EngineError(f"the service does not start: {reason}", hint="see the logs of ray") from None
        yield _address_of_others() if others else _address(settings.host, port, bool(settings.certfile))
    finally:
        if others:
            serve.delete(NAME)
        else:
            serve.shutdown()
        if (known := live_actors.known_directory()) is not None:
            ray.get(known.end.remote(), timeout=30)
            ray.kill(known)


def _address(host: str, port: int, tls: bool) -> str:
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _address_of_others() -> str:
    """Where a Serve listens that was there before; Serve itself tells it nowhere else."""
    from ray.serve.context import _get_global_client

    options = _get_global_client().http_config
    return _address(options.host, options.port, bool(getattr(options, "ssl_certfile", None)))


def application(args: dict[str, Any]) -> Any:
    """The service by the name that a Serve config has for it, with the fields of a deployment
    (deploy/rayservice.yaml). Raises InvalidOption.
    """
    return _application(deployment_of(args))


def _application(deployment: Deployment) -> Any:
    """The front as Serve takes it."""
    from ray import serve

    def build() -> Any:
        return front(deployment)

    options: dict[str, Any] = {
        "num_replicas": 1,  # it has the data folder, and holds the sockets
        "max_ongoing_requests": _REQUESTS,
        "ray_actor_options": {"num_cpus": 0, "resources": {"node:__internal_head__": 0.001}},
        "graceful_shutdown_timeout_s": 10,
        "health_check_period_s": 2,
        "health_check_timeout_s": 20,
    }
    return serve.deployment(serve.ingress(build)(), name="front", **options).bind()


def front(deployment: Deployment) -> Any:
    """The application, in the replica that serves it."""
    from personare.cluster import live_actors
    from personare.cluster.parcels import Packer
    from personare.cluster.sessions import ClusterSessions
    from personare.serve.app import create_app
    from personare.serve.house import Elsewhere

    logging.basicConfig(format="%(levelname)s: %(message)s".lower())
    settings, ray = deployment.service, ray_module()
    names = tuple(name for name in settings.warm if name in engine_entry_points()) or (DEFAULT_ENGINE,)
    marks = absolute(read_marks_settings())
    memory, share = settings.limits.job_memory_bytes or 0, deployment.gpu
    directory = live_actors.directory(
        settings.studio, marks, names, settings.sessions, deployment.spare, memory, share
    )
    studio = Studio(settings.studio)
    needed = partial(share_of, studio, share)
    live = partial(ClusterSessions, directory=directory, packer=Packer(studio, ray.put), gpu=needed)
    elsewhere = Elsewhere(following(), hiring(settings.studio, share), live, share)
    return create_app(settings, elsewhere)


def share_of(studio: Studio, share: float, wanted: Wanted) -> float:
    """The share of a GPU that a session needs: none if its engine has no networks, or they are
    to run elsewhere.
    """
    if not share:
        return 0.0
    name, options = wanted.engine or DEFAULT_ENGINE, dict(wanted.options)
    try:
        if wanted.avatar:
            manifest = studio.shelf.load_manifest(wanted.avatar)
            name, options = wanted.engine or manifest.engine, {**manifest.options, **options}
        fields = studio.open(name).Options.model_fields
    except (OSError, PersonareError):  # whoever opens it says so
        return 0.0
    if "device" not in fields:
        return 0.0
    return share if uses_gpu([str(options.get("device", fields["device"].default))]) else 0.0


def drain(on: str, node: str, *, drains: bool = True, move: bool = False) -> int:
    """Keep new sessions from a node of a deployment that runs; how many are there. move: they
    begin anew elsewhere. Raises EngineError, InvalidOption.
    """
    if on == "ray" and not os.environ.get("RAY_ADDRESS"):
        raise EngineError(
            "no cluster is named", hint='RAY_ADDRESS=HOST:6379, or on = "ray://HOST:PORT" in --config'
        )
    with joined(on):
        from personare.cluster import live_actors

        ray = ray_module()
        known = live_actors.known_directory()
        if known is None:
            raise EngineError("no service runs on this cluster", hint="personare deploy")
        nodes = [one["NodeID"] for one in ray.nodes() if one["Alive"] and one["NodeID"].startswith(node)]
        if len(nodes) != 1 or not node:
            raise InvalidOption(f"{node[:80]!r} is no node's id", hint="ray list nodes")
        return int(ray.get(known.drain.remote(nodes[0], drains, move), timeout=60))


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as found:
        return int(found.getsockname()[1])
