"""What a process may do in a container of ours: run there, it fails when that is too much."""

from pathlib import Path

status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
assert {int(number) for number in status["Uid"].split()} == {10001}, status["Uid"]
assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0, status["CapBnd"]
assert int(status["NoNewPrivs"]) == 1, status["NoNewPrivs"]
for folder in ("/state", "/tmp"):  # noqa: S108  the containers' own
    probe = Path(folder, "probe")
    probe.write_text("")
    probe.unlink()
for folder in ("/app", "/venv", "/etc"):
    try:
        Path(folder, "probe").write_text("")
    except OSError:
        continue
    raise SystemExit(f"{folder} can be written")
