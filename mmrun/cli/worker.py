"""A process that trains the runs that `workers.Workers` sends it, one after another.

    python -m mmrun.cli.worker DESCRIPTOR

A line of JSON comes in through the socket for each job; one with the reason of its failure, or null, goes out.
"""

import json
import socket
import sys


def main(descriptor: int) -> int:
    """Train jobs until the other end of the socket is closed.

    Returns:
        The exit code: 130 after an interruption, which the run has reported.
    """
    try:
        from mmrun.cli.job import train_job
        from mmrun.run.last_data import LastData

        last_data = LastData()
        with socket.socket(fileno=descriptor) as connection, connection.makefile("rw", encoding="utf-8") as channel:
            for line in channel:
                reason = train_job(json.loads(line), last_data)
                channel.write(f"{json.dumps(reason)}\n")
                channel.flush()
    except (KeyboardInterrupt, BrokenPipeError):
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
