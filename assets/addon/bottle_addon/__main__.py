"""Entry point of ``python3 -m bottle_addon``."""

from bottle_addon.main import run

if __name__ == "__main__":
    raise SystemExit(run())
