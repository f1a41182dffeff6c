"""Headless Chromium, driven through a pipe by its DevTools protocol: pages are used as people use them."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time

CHROMIUM = shutil.which("chromium")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe")
FAKE_MICROPHONE = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")


class Browser:
    """One page in a headless Chromium.

    Args:
        profile: an empty folder.

    Attributes:
        console: messages, errors and refused requests of the page.
    """

    def __init__(self, profile, width=1280, height=900, is_dark=False):
        from_browser, browser_writes = _open_pipe()
        browser_reads, to_browser = _open_pipe()
        redirect = f'exec "$0" "$@" 3<&{browser_reads} 4>&{browser_writes}'
        flags = [*FLAGS, *FAKE_MICROPHONE, f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(
            ["bash", "-c", redirect, CHROMIUM, *flags, "about:blank"],
            pass_fds=(browser_reads, browser_writes),
            stderr=subprocess.DEVNULL,
        )
        os.close(browser_reads)
        os.close(browser_writes)
        self._read, self._write = from_browser, to_browser
        self._buffer, self._number, self._session = b"", 0, None
        self.console = []
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._send(f"{domain}.enable")
        self.resize(width, height)
        theme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self._send("Emulation.setEmulatedMedia", features=[theme])

    def close(self):
        self._process.kill()
        self._process.wait()
        os.close(self._read)
        os.close(self._write)

    def resize(self, width, height=900):
        self._send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def open(self, address):
        self._send("Page.navigate", url=address)

    def evaluate(self, expression):
        """Return the value of JavaScript; a promise is awaited."""
        result = self._send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait_for(self, expression, seconds=60):
        """Wait until JavaScript is true."""
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"{expression}: not true after {seconds} s; {self.console}"
            time.sleep(0.05)

    def choose_file(self, selector, *paths):
        document = self._send("DOM.getDocument")["root"]["nodeId"]
        node = self._send("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
        self._send("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def type(self, text):
        """Type into the focused element."""
        self._send("Input.insertText", text=text)

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            virtual = {"Tab": 9, "Enter": 13, " ": 32}[key]
            self._send("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=virtual, **text)

    def screenshot(self, path):
        """Save the whole page as PNG."""
        shot = self._send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _send(self, method, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self._note(answer)

    def _receive(self):
        while b"\0" not in self._buffer:
            assert select.select([self._read], [], [], 60)[0], "the browser does not answer"
            content = os.read(self._read, 1 << 20)
            assert content, "the browser ended"
            self._buffer += content
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, event):
        parameters = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.console.append(parameters["exceptionDetails"].get("exception", {}).get("description", "exception"))
        if event.get("method") == "Log.entryAdded":
            self.console.append(parameters["entry"]["text"])
        if event.get("method") == "Runtime.consoleAPICalled":
            self.console.append(str(parameters["args"]))


def _open_pipe():
    """Return the descriptors of a pipe, both above those that Chromium is given."""
    pair = os.pipe()
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10) for descriptor in pair]
    for descriptor in pair:
        os.close(descriptor)
    return moved
