"""How many requests of one row `mmrun serve` answers a second, with dynamic batching and one by one.

scripts/bench serving RUN [--clients 32] [--requests 10000] [--backend torch|onnx]

Both servers run all the time, and blocks of requests to them alternate, so that both see the same machine. Each client
sends its next request when it has the answer to the last one. Then one server gets all requests, for errors and memory.
"""

import argparse
import asyncio
import base64
import contextlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from urllib.request import urlopen

import numpy as np
import soundfile
from PIL import Image

NUM_BLOCKS, REQUESTS_PER_BLOCK = 5, 400
NUM_BODIES = 64  # rows that differ
ONE_BY_ONE = ("--max-batch", "1", "--max-wait", "0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--backend", default="torch", choices=["torch", "onnx"])
    parser.add_argument("--side", type=int, default=64, help="of the pictures, pixels")
    args = parser.parse_args()
    with start_server(args.run, args.backend) as batched, start_server(args.run, args.backend, *ONE_BY_ONE) as single:
        bodies = make_bodies(json.load(urlopen(f"http://127.0.0.1:{batched.port}/schema")), args.side)
        servers = {"dynamic batching": (batched, args.clients), "one by one": (single, args.clients)}
        servers["one client"] = (single, 1)
        compare(servers, bodies)
        soak(batched, bodies, args.clients, args.requests)


class Server:
    """A server in a process of its own.

    Args:
        process: of it.
        port: that it listens at.
    """

    def __init__(self, process, port: int) -> None:
        self.process, self.port = process, port

    def read_memory(self) -> int:
        """Return its resident memory in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.search(r"VmRSS:\s+(\d+)", status)[1])


@contextlib.contextmanager
def start_server(run: str, backend: str, *options: str):
    """Start a server, and stop it when the context ends."""
    command = [sys.executable, "-m", "mmrun", "serve", run, "--port", "0", "--backend", backend, "--quiet", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield Server(process, int(process.stdout.readline().rsplit(":", 1)[1]))
    finally:
        process.terminate()
        process.wait()


def make_bodies(schema, side: int) -> list[bytes]:
    """Return requests of one row each, with noise of each type."""
    generator = np.random.default_rng(0)
    makers = {
        "image": lambda _: encode_picture(generator, side),
        "audio": lambda _: encode_sound(generator),
        "text": lambda _: " ".join(generator.choice(["a", "large", "small", "red", "thing"], 8)),
        "series": lambda _: generator.normal(size=64).round(3).tolist(),
        "number": lambda column: column["mean"] + float(generator.normal()),
        "category": lambda column: str(generator.choice(column["categories"])),
        "date": lambda _: "2026-01-31",
    }
    bodies = []
    for _ in range(NUM_BODIES):
        row = {}
        for modality in schema["inputs"]:
            row |= {column["name"]: makers[column["type"]](column) for column in modality["columns"]}
        bodies.append(json.dumps({"rows": [row]}).encode())
    return bodies


def encode_picture(generator, side: int) -> str:
    stream = io.BytesIO()
    Image.fromarray(generator.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(stream, "JPEG")
    return base64.b64encode(stream.getvalue()).decode()


def encode_sound(generator) -> str:
    stream = io.BytesIO()
    soundfile.write(stream, 0.1 * generator.normal(size=8000), 16000, format="WAV")
    return base64.b64encode(stream.getvalue()).decode()


async def request_all(port: int, bodies: list[bytes], num_clients: int, num_requests: int) -> tuple[float, list, list]:
    """Send requests from several clients; return the seconds of all, the seconds of each, and their statuses."""
    seconds: list[float] = []
    statuses: list[int] = []
    numbers = iter(range(num_requests))

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            body = bodies[number % len(bodies)]
            start = perf_counter()
            head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
            writer.write(head.encode() + b"\r\n\r\n" + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(re.search(rb"content-length: (\d+)", answer)[1]))
            seconds.append(perf_counter() - start)
            statuses.append(int(answer.split()[1]))
        writer.close()

    start = perf_counter()
    await asyncio.gather(*(work() for _ in range(num_clients)))
    return perf_counter() - start, seconds, statuses


def compare(servers, bodies: list[bytes]) -> None:
    """Print requests a second and latencies of each server."""
    rates: dict[str, list[float]] = {name: [] for name in servers}
    latencies: dict[str, list[float]] = {name: [] for name in servers}
    for block in range(NUM_BLOCKS + 1):
        for name, (server, num_clients) in servers.items():
            count = REQUESTS_PER_BLOCK if num_clients > 1 else REQUESTS_PER_BLOCK // 4
            total, seconds, statuses = asyncio.run(request_all(server.port, bodies, num_clients, count))
            assert set(statuses) == {200}
            if block:  # the first one warms up
                rates[name].append(len(seconds) / total)
                latencies[name] += seconds
    for name, (_, num_clients) in servers.items():
        p50, p99 = 1000 * np.quantile(latencies[name], [0.5, 0.99])
        rate = float(np.median(rates[name]))
        print(f"{name}, clients: {num_clients}: {rate:.0f} requests a second, p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    ratios = np.array(rates["dynamic batching"])
    for name in ("one by one", "one client"):
        print(f"dynamic batching is {np.median(ratios / rates[name]):.1f} times as fast as {name}")


def soak(server: Server, bodies: list[bytes], num_clients: int, num_requests: int) -> None:
    """Print errors and memory over many requests."""
    errors = 0
    for part in range(5):
        _, _, statuses = asyncio.run(request_all(server.port, bodies, num_clients, num_requests // 5))
        errors += sum(status != 200 for status in statuses)
        memory = server.read_memory() / (1 << 20)
        print(f"{(part + 1) * num_requests // 5:,} requests, {errors} errors, {memory:.0f} MiB resident")


if __name__ == "__main__":
    main()
