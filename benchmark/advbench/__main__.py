"""The console script and `python -m advbench`: sets what OpenMP reads when torch is loaded, then calls `cli`."""

import os


def main() -> None:
    # torch's idle threads spin by default; two runs on one machine then took eight times as long as they do with this
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from advbench.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
