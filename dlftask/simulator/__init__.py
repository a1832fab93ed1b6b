"""The service on loopback: scripted tasks, authentication, faults.

Users test their pipelines against it, without an account::

    with Simulator() as simulator:
        subprocess.run(["deploy.sh"], env={**os.environ, **simulator.environment()})

or from a shell: ``python -m dlftask.simulator -- ./deploy.sh``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlftask.simulator.faults import Fault
    from dlftask.simulator.responses import Request
    from dlftask.simulator.server import Simulator

__all__ = ["Fault", "Request", "Simulator"]


def __getattr__(name: str) -> Any:
    # An HTTP server costs start-up time, and this package is imported to ask what it holds.
    if name == "Fault":
        from dlftask.simulator.faults import Fault

        return Fault
    if name == "Request":
        from dlftask.simulator.responses import Request

        return Request
    if name in __all__:
        from dlftask.simulator import server

        return getattr(server, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
