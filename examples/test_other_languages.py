"""Lesson 9: the first lesson and the one on groups again, in Go (franz-go), Java (Kafka's own) and Node (KafkaJS)."""

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


def new_topic(language):
    return f"{language}-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def java(bootstrap):
    """Runs one Java program."""
    needs("java", "mvn")
    run("mvn", "-q", "dependency:copy-dependencies", f"-DoutputDirectory={LIBRARIES}", folder=EXAMPLES / "java")

    def program(source):
        classpath = ["-cp", f"{LIBRARIES}/*"]
        return run("java", *classpath, source, bootstrap, new_topic("java"), folder=EXAMPLES / "java").strip()

    return program


def test_franz_go_writes_and_reads(bootstrap):
    needs("go")
    printed = run("go", "run", ".", bootstrap, new_topic("go"), folder=EXAMPLES / "go")
    assert printed.strip() == "1000 records written and read"


def test_franz_go_shares_a_topic_in_a_group(bootstrap):
    needs("go")
    printed = run("go", "run", "./group", bootstrap, new_topic("go"), folder=EXAMPLES / "go")
    assert printed.strip() == "440 records shared by 3 members"


def test_kafkas_own_client_writes_and_reads(java):
    assert java("Minimal.java") == "1000 records written and read"


def test_kafkas_own_client_copies_in_transactions(java):
    assert java("Transactions.java") == "200 records copied once, 1 zombie fenced"


def test_kafkas_own_client_shares_a_topic_in_a_group(java):
    assert java("Group.java") == "440 records shared by 3 members"


def test_kafkajs_writes_and_reads_in_a_group(bootstrap):
    needs("node", "npm")
    run("npm", "ci", "--silent", "--no-audit", "--no-fund", folder=EXAMPLES / "node")
    printed = run("node", "minimal.js", bootstrap, new_topic("node"), folder=EXAMPLES / "node")
    assert printed.strip() == "1000 records written and read"
