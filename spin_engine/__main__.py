"""``python -m spin_engine``: a job, an evaluation, one unit or transfer, or the warm drawing process."""

import argparse
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Literal, TextIO

from spin_engine import launch
from spin_engine.config import JobConfig
from spin_engine.phases import span_line
from spin_engine.reporter import ErrorsOnly, JsonLines, Reporter, Terminal
from spin_engine.runtime import prepare_environment
from spin_engine.stopping import Stop, Stopped
from spin_engine.transfer_spec import TRANSFER
from spin_engine.unit_spec import TEMPORARY_FAILURE, UnitSpec

EPILOG = """\
python -m spin_engine CONFIG.yaml --out DIR    a whole job; the same command again goes on where it stopped
python -m spin_engine evaluate CONFIG.yaml --out DIR
                                               draw prompts with a model, and an opponent, and measure them
python -m spin_engine estimate CONFIG.yaml     what a job will need: memory of each device, disk, time here
python -m spin_engine unit SPEC.json           one work unit; JSON lines on stdout
python -m spin_engine launch ... SPEC.json     a train unit in several processes of this host
python -m spin_engine transfer SPEC.json       one export or import of a model; JSON lines on stdout
python -m spin_engine serve                    draw pictures: a JSON request a line in, a JSON answer a line
out

exit codes: 0 done; 75 stopped by SIGTERM or Ctrl-C, run it again; 65 a mistake in the config or the data;
71 out of memory; 70 a crash; 76 another process of the same training ended
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] in (["unit"], ["transfer"]):
        [what] = given[:1]
        parser = argparse.ArgumentParser(f"python -m spin_engine {what}", description=f"Run one {what}.")
        parser.add_argument("spec", type=Path, help=f"JSON file (see spin_engine/{what}_spec.py)")
        return _unit(parser.parse_args(given[1:]).spec, transfer=what == "transfer")
    if given[:1] == ["launch"]:
        return launch.main(given[1:])
    if given[:1] == ["serve"]:
        parser = argparse.ArgumentParser("python -m spin_engine serve", description="Draw what stdin asks.")
        parser.add_argument(
            "--memory-bytes", type=int, default=0, help="what models may take; 0: what is reasonable"
        )
        return _serve(parser.parse_args(given[1:]).memory_bytes)
    if given[:1] == ["estimate"]:
        return _estimate(given[1:])
    if given[:1] == ["evaluate"]:
        parser = argparse.ArgumentParser(
            "python -m spin_engine evaluate",
            description="Draw prompts with a model, and measure the pictures.",
        )
        parser.add_argument("config", type=Path, help="the evaluation, as YAML (see configs/paper/)")
        parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of its own")
        parsed = parser.parse_args(given[1:])
        return _for_a_person("evaluate", parsed.config, parsed.out)
    parser = argparse.ArgumentParser(
        "python -m spin_engine",
        description="Fine-tune a text-to-image model by self-play (SPIN-Diffusion) or supervision.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=Path, help="the job, as YAML (see configs/)")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the job and its model"
    )
    parsed = parser.parse_args(given)
    return _for_a_person("job", parsed.config, parsed.out)


def _for_a_person(what: Literal["job", "evaluate"], path: Path, out: Path) -> int:
    """Run a whole job or an evaluation with a progress bar and sentences on stderr; its result on stdout."""
    stop = Stop()
    stop.listen(signal.SIGTERM, signal.SIGINT)
    prepare_environment()
    from spin_engine.evaluation import read_evaluation, run_evaluation  # noqa: PLC0415  # imports torch
    from spin_engine.job import read_job, run_job  # noqa: PLC0415  # likewise, after its settings
    from spin_engine.unit import EXIT_CODES, reason_of  # noqa: PLC0415

    terminal = None
    try:
        asked = read_evaluation(path) if what == "evaluate" else read_job(path)
        out.mkdir(parents=True, exist_ok=True)
        terminal = Terminal(out)
        first = os.environ.get("RANK", "0") == "0"
        reporter: Reporter = terminal if first else ErrorsOnly(terminal)
        if isinstance(asked, JobConfig):
            result = run_job(asked, out, reporter, stop)
        else:
            result = run_evaluation(asked, out, reporter, stop)
    except Stopped:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return TEMPORARY_FAILURE
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        reason = reason_of(error)
        if reason == "internal":
            raise
        print(f"{reason.replace('_', ' ')}: {error}", file=sys.stderr)
        return EXIT_CODES[reason]
    finally:
        if terminal is not None:
            terminal.close()
    if first:
        print(result)
    return 0


def _estimate(given: list[str]) -> int:
    """Print what a job will need."""
    parser = argparse.ArgumentParser(
        "python -m spin_engine estimate", description="Memory of each training device, disk, and time here."
    )
    parser.add_argument("config", type=Path, help="the job, as YAML (see configs/)")
    parser.add_argument("--rows", type=int, help="captioned pictures, if the data is not here to be counted")
    parser.add_argument("--processes", type=int, default=1, help="that train, each on its own device")
    parser.add_argument("--no-time", action="store_true", help="load no weights, measure nothing")
    parser.add_argument("--json", action="store_true", help="bytes and seconds as JSON")
    parsed = parser.parse_args(given)
    prepare_environment()
    from spin_engine.estimate import estimate  # noqa: PLC0415  # imports torch, after its settings
    from spin_engine.job import read_job  # noqa: PLC0415  # likewise
    from spin_engine.unit import EXIT_CODES, reason_of  # noqa: PLC0415  # likewise

    try:
        found = estimate(
            read_job(parsed.config),
            rows=parsed.rows,
            processes=parsed.processes,
            measured=not parsed.no_time,
        )
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        reason = reason_of(error)
        if reason == "internal":
            raise
        print(f"{reason.replace('_', ' ')}: {error}", file=sys.stderr)
        return EXIT_CODES[reason]
    print(json.dumps(found.as_json(), indent=1) if parsed.json else found.table())
    return 0


def _unit(path: Path, *, transfer: bool) -> int:
    """Run one work unit or transfer for a program: JSON lines on stdout, everything else on stderr."""
    began = time.time_ns()
    stop = Stop()
    stop.listen(signal.SIGTERM)
    prepare_environment()
    from spin_engine.transfers.run import run_transfer  # noqa: PLC0415  # imports torch, after its settings
    from spin_engine.unit import EXIT_CODES, reason_of, run_unit  # noqa: PLC0415  # likewise

    with _own_stdout() as lines:
        reporter: Reporter = JsonLines(lines)
        if os.environ.get("RANK", "0") != "0":
            reporter = ErrorsOnly(reporter)
        reporter.send(span_line("import", began))
        try:
            told = json.loads(path.read_text())
            if transfer:
                run_transfer(TRANSFER.validate_python(told), reporter, stop)
            else:
                run_unit(UnitSpec.model_validate(told), reporter, stop)
        except Stopped:
            return TEMPORARY_FAILURE
        except Exception as error:  # noqa: BLE001  # told with its reason, never passed over
            traceback.print_exc()
            reason = reason_of(error)
            if reason == "worker_lost":  # whoever ended knows why; ``launch`` tells it
                return EXIT_CODES[reason]
            reporter.send({"type": "error", "reason": reason, "message": f"{error}" or type(error).__name__})
            return EXIT_CODES[reason]
        reporter.send({"type": "done"})
    return 0


def _serve(memory_bytes: int) -> int:
    """Run the warm drawing process: answers on stdout, everything else on stderr."""
    prepare_environment()
    from spin_engine.serve import serve  # noqa: PLC0415  # imports torch, after its settings

    with _own_stdout() as answers:
        serve(sys.stdin, answers, memory_bytes=memory_bytes)
    return 0


def _own_stdout() -> TextIO:
    """Return stdout for us alone; whatever a library prints goes to stderr from now on."""
    own = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return own


if __name__ == "__main__":
    sys.exit(main())
