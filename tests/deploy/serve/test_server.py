"""The process of a server: its address, slow clients, and how it stops."""

import signal
import socket
import threading
import time

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from mmrun.deploy.serve.server import open_socket
from mmrun.errors import ConfigError
from tests.deploy.serve.client import start


def test_an_address_in_use_or_unknown_is_a_clear_error():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            open_socket("127.0.0.1", port)
        assert str(caught.value) == f"--port {port}: is in use; name another one, or --port 0 for any that is free"
    with pytest.raises(
        ConfigError, match=r"^--host 203\.0\.113\.7: .*; use 127\.0\.0\.1, or an address of this machine$"
    ):
        open_socket("203.0.113.7", 0)
    with pytest.raises(ConfigError, match=r"^--host no host: "):
        open_socket("no host", 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_in_flight_finish(things_run, fork_server, tmp_path, number):
    client = start(fork_server, tmp_path, things_run, "--port", "0", "--max-wait", "800").wait()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(client.post_rows([{"note": "a large thing"}])))
    thread.start()
    time.sleep(0.4)  # the row waits for others
    client.process.send_signal(number)
    thread.join(30)
    assert client.process.wait(30) == 0
    assert [answer.status for answer in answers] == [200]
    assert client.log[-1] == "stopped"


def test_clients_that_send_nothing_or_nonsense_hold_nobody_up(served):
    silent = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(50)]
    for connection in silent[:25]:
        connection.sendall(b"POST /predict HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
    silent[30].sendall(b"\x16\x03\x01\x02\x00nonsense\r\n\r\n")
    silent[31].sendall(b"GET /" + b"a" * 100_000)
    assert served.post_rows([{"note": "a"}]).status == 200
    assert silent[30].recv(100).startswith(b"HTTP/1.1 400 ")
    assert silent[31].recv(100).startswith(b"HTTP/1.1 400 ")
    for connection in silent:
        connection.close()
    assert served.get("/ready").status == 200
