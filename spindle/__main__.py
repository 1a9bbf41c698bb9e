"""``python -m spindle`` is ``spindle``."""

from spindle.cli.main import app

if __name__ == "__main__":
    app(prog_name="spindle")
