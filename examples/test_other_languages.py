"""Lesson 9: the first lesson and the one on groups again, in Go (franz-go), Java (Kafka's own) and Node (KafkaJS, and
Platformatic's client, which knows groups of the new protocol)."""

import shutil
import subprocess
import uuid
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent
LIBRARIES = EXAMPLES.parent / "target" / "java-libraries"

# The first run fetches and compiles the clients.
pytestmark = pytest.mark.timeout(900)

BOTH_PROTOCOLS = pytest.mark.parametrize("protocol", ["classic", "consumer"])


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

    def program(source, *arguments):
        command = ["java", "-cp", f"{LIBRARIES}/*", source, bootstrap, new_topic("java"), *arguments]
        return run(*command, folder=EXAMPLES / "java").strip()

    return program


def test_franz_go_writes_and_reads(bootstrap):
    needs("go")
    printed = run("go", "run", ".", bootstrap, new_topic("go"), folder=EXAMPLES / "go")
    assert printed.strip() == "1000 records written and read"


@BOTH_PROTOCOLS
def test_franz_go_shares_a_topic_in_a_group(bootstrap, protocol):
    needs("go")
    printed = run("go", "run", "./group", bootstrap, new_topic("go"), protocol, folder=EXAMPLES / "go")
    assert printed.strip() == "440 records shared by 3 members"


def test_kafkas_own_client_writes_and_reads(java):
    assert java("Minimal.java") == "1000 records written and read"


def test_kafkas_own_client_copies_in_transactions(java):
    assert java("Transactions.java") == "200 records copied once, 1 zombie fenced"


@BOTH_PROTOCOLS
def test_kafkas_own_client_shares_a_topic_in_a_group(java, protocol):
    assert java("Group.java", protocol) == "440 records shared by 3 members"


@pytest.fixture(scope="session")
def node(bootstrap):
    """Runs one program of Node."""
    needs("node", "npm")
    run("npm", "ci", "--silent", "--no-audit", "--no-fund", folder=EXAMPLES / "node")
    return lambda source: run("node", source, bootstrap, new_topic("node"), folder=EXAMPLES / "node").strip()


def test_kafkajs_writes_and_reads_in_a_group(node):
    assert node("minimal.js") == "1000 records written and read"


def test_platformatic_kafka_shares_a_topic_in_a_group_of_the_new_protocol(node):
    assert node("group.mjs") == "440 records shared by 3 members"
