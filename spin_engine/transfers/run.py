"""One export or import in this process."""

from spin_engine.reporter import Reporter
from spin_engine.stopping import Stop
from spin_engine.transfer_spec import ExportSpec, ImportSpec
from spin_engine.transfers import exporting, importing


def run_transfer(spec: ExportSpec | ImportSpec, reporter: Reporter, stop: Stop) -> None:
    """Run an export or an import: folders in, ``spec.out`` out.

    Raises:
        Stopped: it was asked to stop.
        ValueError: the user's mistake.
    """
    if isinstance(spec, ExportSpec):
        exporting.run(spec, reporter, stop)
    else:
        importing.run(spec, reporter, stop)
