"""The time of a trial is the time that it had: a terminal that stops it (Ctrl-Z) doesn't make an arm slow."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

WATCHED = """
import sys, time
from loralab import clock
clock.leave_out_stops()
begun, began = clock.now(), time.perf_counter()
print("ready", flush=True)
sys.stdin.readline()
print(time.perf_counter() - began - (clock.now() - begun))
"""
STOPPED = 0.5  # seconds


@pytest.mark.skipif(not hasattr(signal, "SIGTSTP"), reason="this system's terminals stop nothing")
def test_seconds_in_which_a_process_was_stopped_are_left_out() -> None:
    with subprocess.Popen([sys.executable, "-c", WATCHED], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTSTP)
        end = time.monotonic() + 60
        while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
            assert time.monotonic() < end, "it never stopped"
            time.sleep(0.01)
        time.sleep(STOPPED)
        os.kill(process.pid, signal.SIGCONT)
        told, _ = process.communicate("go on\n")
    assert float(told) >= STOPPED
