"""A forked command is as one that was started anew: what it is given, and how it ends."""

import os
import signal
import subprocess
import time


def write_script(folder, code):
    script = folder / "script.py"
    script.write_text(code)
    return script


def exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_command_has_its_own_arguments_folder_environment_and_exit_code(fork_server, tmp_path):
    code = "import os, sys; print(sys.argv[1:], os.getcwd(), os.environ['COLOUR']); sys.exit(3)"
    done = fork_server.run(write_script(tmp_path, code), "a b", cwd=tmp_path, environment={"COLOUR": "red"})
    assert done == (3, f"['a b'] {tmp_path} red\n", "")


def test_the_interpreter_ends_by_the_signal_that_its_command_got(fork_server, tmp_path):
    script = write_script(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGTERM)")
    assert subprocess.run([fork_server.interpreter, script], check=False).returncode == -signal.SIGTERM


def test_a_command_is_killed_with_the_interpreter(fork_server, tmp_path):
    script = write_script(tmp_path, "import os, time; print(os.getpid(), flush=True); time.sleep(100)")
    with subprocess.Popen([fork_server.interpreter, script], stdout=subprocess.PIPE, text=True) as process:
        pid = int(process.stdout.readline())
        assert exists(pid)
        process.kill()
    while exists(pid):
        time.sleep(0.01)
