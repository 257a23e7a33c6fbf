#!/usr/bin/env python3
"""Starts a fresh broker, runs every example against it with pytest, and stops the broker again.

    run_all_tests.py [--broker PATH] [--bootstrap HOST:PORT] [pytest arguments...]

The broker is PATH, else $RUSTKA_BIN, else what `cargo build` makes. With --bootstrap a broker that is running already
is used and left alone. Everything not listed above goes to pytest as it is. Ends with one line `N passed, N failed`;
the exit code is 0 only if every test passed and the broker stopped as it should.
"""

import argparse
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent
READY_SECONDS = 60
STOP_SECONDS = 60

# What the lessons expect beyond the defaults: retention and compaction that can be watched.
BROKER_CONFIG = ["log.retention.check.interval.ms=500", "log.cleaner.backoff.ms=500"]


class BrokerFailed(Exception):
    """There is no broker to test, and why."""


class Outcome:
    """A pytest plugin that counts tests, not phases: an error in setup or teardown is a failure of its test."""

    def __init__(self):
        self.passed, self.failed, self.skipped = set(), set(), {}

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed.add(report.nodeid)
        elif report.skipped:
            # The reason is the last of (file, line, reason).
            self.skipped[report.nodeid] = report.longrepr[-1].removeprefix("Skipped: ")
        elif report.when == "call" and report.passed:
            self.passed.add(report.nodeid)

    def pytest_collectreport(self, report):
        if report.failed:
            self.failed.add(report.nodeid or "collection")


class Broker:
    """A broker process of our own on free ports."""

    def __init__(self, binary):
        arguments = [str(binary), "--port", "0", "--http-port", "0"]
        for pair in BROKER_CONFIG:
            arguments += ["-c", pair]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self._read_stdout, daemon=True).start()

    def _read_stdout(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def wait_until_ready(self):
        """The ready line as a dict; BrokerFailed if it does not come or is not what it should be."""
        try:
            line = self.lines.get(timeout=READY_SECONDS)
        except queue.Empty:
            raise BrokerFailed(f"the broker printed no ready line within {READY_SECONDS} s") from None
        if line is None:
            raise BrokerFailed(f"the broker ended before it was ready, exit code {self.process.wait()}")
        try:
            ready = json.loads(line)
        except json.JSONDecodeError as error:
            raise BrokerFailed(f"the first line on stdout is no JSON ({error}): {line!r}") from None
        missing = {"ready", "bootstrap", "http", "node_id", "version"} - ready.keys()
        if missing or ready["ready"] is not True:
            raise BrokerFailed(f"the ready line lacks {sorted(missing) or 'ready: true'}: {line!r}")
        return ready

    def stop(self):
        """SIGTERM; what went wrong, or None. The broker has to leave with 0 and to have said nothing more on stdout."""
        if self.process.poll() is not None:
            return f"the broker was gone before it was stopped, exit code {self.process.returncode}"
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return f"the broker did not stop within {STOP_SECONDS} s of SIGTERM"
        if code != 0:
            return f"the broker stopped with exit code {code} instead of 0"
        line = self.lines.get(timeout=STOP_SECONDS)
        return None if line is None else f"more than the ready line on stdout: {line!r}"

    def kill(self):
        """For the ways out on which nothing else is worth saying."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def check_health(address):
    """None, or what is wrong with /healthz and /readyz at HOST:PORT."""
    for path in ("/healthz", "/readyz", "/metrics"):
        try:
            with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
                if answer.status != 200:
                    return f"{path} answered {answer.status}"
        except OSError as error:
            return f"{path}: {error}"
    return None


def built_broker():
    """Builds the broker with cargo and returns the path of the binary, as cargo reports it."""
    command = ["cargo", "build", "--package", "rustka", "--bin", "rustka", "--message-format", "json-render-diagnostics"]
    build = subprocess.run(command, cwd=EXAMPLES.parent, stdout=subprocess.PIPE, text=True, check=False)
    if build.returncode != 0:
        raise BrokerFailed("cargo could not build the broker")
    for line in build.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "rustka":
            return message["executable"]
    raise BrokerFailed("cargo built no executable named rustka")


def run_pytest(bootstrap, arguments):
    """(number passed, number failed)"""
    os.environ["RUSTKA_BOOTSTRAP"] = bootstrap
    names_a_test = any(Path(argument.split("::")[0]).exists() for argument in arguments)
    selection = [] if names_a_test else [str(EXAMPLES)]
    outcome = Outcome()
    always = ["--config-file", str(EXAMPLES / "pytest.ini"), "-p", "no:cacheprovider", "-v"]
    code = pytest.main([*always, *selection, *arguments], plugins=[outcome])
    for test, reason in outcome.skipped.items():
        print(f"skipped {test}: {reason}")
    failed = len(outcome.failed)
    if code != pytest.ExitCode.OK and failed == 0:
        # Nothing collected, a usage error, an internal error: no test failed, and yet nothing was proven.
        print(f"pytest ended with {pytest.ExitCode(code).name}")
        failed = 1
    return len(outcome.passed - outcome.failed), failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", metavar="PATH", default=os.environ.get("RUSTKA_BIN"))
    parser.add_argument("--bootstrap", metavar="HOST:PORT")
    options, pytest_arguments = parser.parse_known_args()

    passed, failed, complaints = 0, 0, []
    if options.bootstrap:
        passed, failed = run_pytest(options.bootstrap, pytest_arguments)
    else:
        try:
            binary = options.broker or built_broker()
            # For lessons that need a broker of their own.
            os.environ["RUSTKA_BIN"] = str(Path(binary).resolve())
            broker = Broker(binary)
            try:
                ready = broker.wait_until_ready()
                print(f"broker {ready['version']} at {ready['bootstrap']}, pid {broker.process.pid}", flush=True)
                complaints.append(check_health(ready["http"]))
                passed, failed = run_pytest(ready["bootstrap"], pytest_arguments)
                complaints.append(broker.stop())
            finally:
                broker.kill()
        except BrokerFailed as why:
            complaints.append(why)
    for complaint in filter(None, complaints):
        print(f"FAILED {complaint}")
        failed += 1

    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
