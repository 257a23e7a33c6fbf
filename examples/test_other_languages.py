"""Lesson 9: the first lesson again, with the clients of Go (franz-go) and Java (Kafka's own)."""

import shutil
import subprocess
import uuid
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent
LIBRARIES = EXAMPLES.parent / "target" / "java-libraries"

# The first run fetches and compiles the clients.
pytestmark = pytest.mark.timeout(900)


def needs(*programs):
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)} on this machine")


def run(*command, folder):
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_franz_go_writes_and_reads(bootstrap):
    needs("go")
    printed = run("go", "run", ".", bootstrap, f"go-{uuid.uuid4().hex[:8]}", folder=EXAMPLES / "go")
    assert printed.strip() == "1000 records written and read"


def test_kafkas_own_client_writes_and_reads(bootstrap):
    needs("java", "mvn")
    run(
        "mvn", "-q", "dependency:copy-dependencies", f"-DoutputDirectory={LIBRARIES}", folder=EXAMPLES / "java"
    )
    topic = f"java-{uuid.uuid4().hex[:8]}"
    printed = run("java", "-cp", f"{LIBRARIES}/*", "Minimal.java", bootstrap, topic, folder=EXAMPLES / "java")
    assert printed.strip() == "1000 records written and read"
