#!/usr/bin/env python3
"""Records what Kafka's own command-line tools print and return: for each session of crates/broker/tests/tools a fresh Kafka,
its commands one after the other, and their answers in crates/broker/tests/tools/recorded.

    python3 clients/oracle/record_tools.py [SESSION...]

A session is a list of steps: {"run": "kafka-topics --list"}, with "input" for standard input. {b} stands for the broker's
address, {dir} for a folder that holds the "files" of all steps before. A step with "transact" is a producer's transaction
instead, as its fields say: "id", "topic", "partition", "end" with commit, abort, or leave it open; it needs confluent-kafka,
which target/python has. What a step says beside that ("order": "any") is for
the test that compares, tests/tools.rs, and is taken over.
"""
import json
import os
import pathlib
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
SESSIONS = HERE.parent.parent / "crates/broker/tests/tools"
TOOLS = "org.apache.kafka.tools."
CLASSES = {
    "kafka-topics": TOOLS + "TopicCommand",
    "kafka-consumer-groups": TOOLS + "consumer.group.ConsumerGroupCommand",
    "kafka-configs": TOOLS + "ConfigCommand",
    "kafka-acls": TOOLS + "AclCommand",
    "kafka-console-producer": TOOLS + "ConsoleProducer",
    "kafka-console-consumer": TOOLS + "consumer.ConsoleConsumer",
    "kafka-get-offsets": TOOLS + "GetOffsetShell",
    "kafka-delete-records": TOOLS + "DeleteRecordsCommand",
    "kafka-broker-api-versions": TOOLS + "BrokerApiVersionsCommand",
    "kafka-log-dirs": TOOLS + "LogDirsCommand",
    "kafka-transactions": TOOLS + "TransactionsCommand",
    "kafka-storage": "kafka.tools.StorageTool",
}
VERSION = "4.4.0"
# As the test starts Rustka.
CONFIGS = [
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found=true",
    "super.users=User:ANONYMOUS",
]
STEP_SECONDS_MAX = 90
# As in Kafka's distribution: nothing of the log on standard output.
LOGGING = """<Configuration status="ERROR"><Appenders><Console name="C" target="SYSTEM_ERR"/></Appenders>
<Loggers><Root level="WARN"><AppenderRef ref="C"/></Root></Loggers></Configuration>
"""


def without_traces(text):
    """Some tools print Java's traces among their output; those are not to be kept."""
    return re.sub(r"(?m)^(\tat |java\.|org\.apache\..*Exception|Caused by).*\n(\n(?=\Z))?", "", text)


def free_ports():
    """A port whose successor is free too."""
    for port in range(21000 + os.getpid() % 500 * 2, 29000, 2):
        try:
            for one in (port, port + 1):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", one))
            return port
        except OSError:
            continue
    raise SystemExit("no port is free")


def start_kafka(folder):
    port = free_ports()
    process = subprocess.Popen(
        [HERE / "kafka", "start", str(port), folder, *CONFIGS], env=os.environ | {"KAFKA_ORACLE_HEAP": "400m"}
    )
    log = pathlib.Path(folder) / "server.log"
    give_up = time.monotonic() + 120
    while not log.exists() or "Kafka Server started" not in log.read_text():
        if process.poll() is not None or time.monotonic() > give_up:
            raise SystemExit("Kafka does not start: " + folder)
        time.sleep(0.1)
    return process, f"127.0.0.1:{port}"


def transact(address, wanted):
    """One record in a transaction, in a process of its own, since leaving it open means to go without a word."""
    program = """
import os, sys, confluent_kafka
address, id, topic, partition, end = sys.argv[1:]
producer = confluent_kafka.Producer({"bootstrap.servers": address, "transactional.id": id})
producer.init_transactions(30)
producer.begin_transaction()
producer.produce(topic, b"v", partition=int(partition))
producer.flush(30)
if end != "leave":
    getattr(producer, end + "_transaction")(30)
os._exit(0)
"""
    words = [address, wanted["id"], wanted["topic"], str(wanted["partition"]), wanted["end"]]
    subprocess.run([sys.executable, "-c", program, *words], check=True, timeout=STEP_SECONDS_MAX)


def record(name, path):
    """Runs a session and writes its answers."""
    steps = json.loads((SESSIONS / f"{name}.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "log4j2.xml").write_text(LOGGING)
        process, address = start_kafka(folder + "/kafka")
        try:
            for step in steps:
                for file, text in step.get("files", {}).items():
                    (pathlib.Path(folder) / file).write_text(text.replace("{b}", address).replace("{dir}", folder))
                if "transact" in step:
                    transact(address, step["transact"])
                    step["out"], step["code"] = "", 0
                    continue
                words = shlex.split(step["run"].replace("{b}", address).replace("{dir}", folder))
                java = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
                log = f"-Dlog4j2.configurationFile={folder}/log4j2.xml"
                command = [*java, log, "-cp", path, CLASSES[words[0]], *words[1:]]
                done = subprocess.run(
                    command, input=step.get("input", "").encode(), capture_output=True, timeout=STEP_SECONDS_MAX
                )
                tidy = lambda text: text.decode().replace(address, "{b}").replace(folder, "{dir}")
                step["out"], step["code"] = without_traces(tidy(done.stdout)), done.returncode
                print(done.returncode, step["run"], flush=True)
        finally:
            process.terminate()
            process.wait()
    text = json.dumps(steps, indent=1, ensure_ascii=False)
    (SESSIONS / "recorded" / f"{name}.json").write_text(text + "\n")


def main():
    environment = os.environ | {"KAFKA_TOOLS_VERSION": VERSION}
    path = subprocess.run([HERE / "kafka", "classpath", "tools"], env=environment, capture_output=True, check=True)
    names = sys.argv[1:] or sorted(file.stem for file in SESSIONS.glob("*.json"))
    for name in names:
        print("==", name, flush=True)
        record(name, path.stdout.decode().strip())


if __name__ == "__main__":
    main()
