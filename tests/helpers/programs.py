"""Programs that a test starts, waits for, and leaves nothing of."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HELPERS = Path(__file__).parent
ROOT = HELPERS.parents[1]
# Seconds. A wait ends with what it waits for, or with the program, however slow the machine is;
# this ends what hangs.
LIMIT = 600.0


class Program:
    """A Python in a process and a group of its own, with the repository and helpers on its path.

    What it says on stderr goes to a file. A pipe would fill up while nobody reads, and workers that
    outlive the program would hold it open.
    """

    def __init__(self, args, stderr):
        self.stderr = stderr
        path = os.pathsep.join([str(ROOT), str(HELPERS), os.environ.get("PYTHONPATH", "")])
        with stderr.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, *map(str, args)],
                env=os.environ | {"PYTHONPATH": path},
                start_new_session=True,
                stdout=subprocess.DEVNULL,
                stderr=file,
            )
        self.pid = self.process.pid

    @property
    def said(self):
        return self.stderr.read_text()

    def wait_for(self, condition):
        """Until the condition holds, or the program has ended without it: an error."""
        deadline = time.monotonic() + LIMIT
        while True:
            status = self.process.poll()
            if found := condition():
                return found
            assert status is None, f"ended with status {status}: {self.said}"
            assert time.monotonic() < deadline, f"hangs: {self.said}"
            time.sleep(0.05)

    def end(self):
        """Wait for its end. The exit status, and what it said."""
        return self.process.wait(LIMIT), self.said

    def send(self, number):
        self.process.send_signal(number)

    def kill(self):
        """As `kill -9` of this one process."""
        self.process.kill()
        self.process.wait()

    def kill_all(self):
        """With the workers of its group, also when it has ended itself."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
