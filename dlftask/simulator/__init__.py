"""The service on loopback: scripted tasks, authentication, faults.

Users test their pipelines against it, without an account::

    with Simulator() as simulator:
        subprocess.run(["deploy.sh"], env={**os.environ, **simulator.environment()})

or from a shell: ``python -m dlftask.simulator -- ./deploy.sh``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlftask.simulator.faults import Fault
    from dlftask.simulator.responses import Request
    from dlftask.simulator.server import Simulator

__all__ = ["Fault", "Request", "Simulator"]
_MODULES = {"Fault": "faults", "Request": "responses", "Simulator": "server"}


def __getattr__(name: str) -> Any:
    # An HTTP server costs start-up time, and this package is imported to ask what it holds.
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
