"""The service on loopback: scripted tasks, authentication, faults.

Users test their pipelines against it, without an account::

    with Simulator() as simulator:
        subprocess.run(["deploy.sh"], env={**os.environ, **simulator.environment()})

or from a shell: ``python -m dlftask.simulator -- ./deploy.sh``.
"""

from dlftask.simulator.faults import Fault
from dlftask.simulator.responses import Request
from dlftask.simulator.server import Simulator

__all__ = ["Fault", "Request", "Simulator"]
