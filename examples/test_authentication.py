"""Logging in: users, wrong passwords, and what each user may do.

    rustka --user-file users.txt -c authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer -c super.users=User:admin

Whoever connects has to log in, by PLAIN or SCRAM; only `admin` may do everything, others what ACLs allow.

    rustka --user-file users.txt --tls-self-signed

The same within TLS: the broker prints the certificate that clients have to trust.

    rustka -c listeners=SASL_PLAINTEXT://127.0.0.1:9092 -c sasl.enabled.mechanisms=OAUTHBEARER -c rustka.oauthbearer.unsecured=true

Whoever connects shows a token. Nobody signs them here; docs/security.md tells how to name the keys of those who do.
"""

import asyncio
import base64
import json
import os
import ssl
import subprocess
import time
import uuid

import aiokafka
import kafka
import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from kafka.errors import KafkaError
from kafka.net.sasl.oauth import AbstractTokenProvider

from helpers import read_confluent, read_kafka_python, until

MECHANISMS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
USERS = "# who may log in\nadmin:admin-secret\nalice:alice-secret\nbob:bob-secret\n"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """The address of a broker that lets in only users who log in."""
    binary = os.environ.get("RUSTKA_BIN")
    if not binary:
        pytest.skip("needs a broker of its own: set RUSTKA_BIN")
    users = tmp_path_factory.mktemp("users") / "users.txt"
    users.write_text(USERS)
    command = [binary, "--port", "0", "--http-port", "0", "--user-file", str(users)]
    command += ["-c", "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer"]
    command += ["-c", "super.users=User:admin"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    yield json.loads(process.stdout.readline())["bootstrap"]
    process.terminate()
    assert process.wait(timeout=30) == 0


def confluent(bootstrap, user, password, mechanism="PLAIN"):
    """confluent-kafka's configuration for a user."""
    return {
        "bootstrap.servers": bootstrap,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": mechanism,
        "sasl.username": user,
        "sasl.password": password,
    }


def python(bootstrap, user, password, mechanism="PLAIN"):
    """kafka-python's and aiokafka's configuration for a user."""
    return {
        "bootstrap_servers": bootstrap,
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": mechanism,
        "sasl_plain_username": user,
        "sasl_plain_password": password,
    }


@pytest.fixture(scope="module")
def admin(guarded):
    """Somebody who may do everything."""
    return AdminClient(confluent(guarded, "admin", "admin-secret"))


@pytest.fixture
def topic(admin):
    """A topic that nobody but `admin` may use yet."""
    name = f"guarded-{uuid.uuid4().hex[:8]}"
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(timeout=30)
    return name


def allow(admin, user, name, operation):
    """Lets a user do this to a topic."""
    acl = AclBinding(
        ResourceType.TOPIC, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, AclPermissionType.ALLOW
    )
    admin.create_acls([acl])[acl].result(timeout=30)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_confluent_kafka_logs_in(guarded, topic, mechanism):
    settings = confluent(guarded, "admin", "admin-secret", mechanism)
    producer = Producer(settings)
    producer.produce(topic, b"hello")
    assert producer.flush(30) == 0
    consumer = Consumer(settings | {"group.id": f"group-{topic}", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    assert read_confluent(consumer, 1)[0].value() == b"hello"
    consumer.close()


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_kafka_python_logs_in(guarded, topic, mechanism):
    settings = python(guarded, "admin", "admin-secret", mechanism)
    producer = kafka.KafkaProducer(**settings)
    producer.send(topic, b"hello").get(timeout=30)
    producer.close()
    consumer = kafka.KafkaConsumer(topic, auto_offset_reset="earliest", **settings)
    assert read_kafka_python(consumer, 1)[0].value == b"hello"
    consumer.close()


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_aiokafka_logs_in(guarded, topic, mechanism):
    async def write():
        producer = aiokafka.AIOKafkaProducer(**python(guarded, "admin", "admin-secret", mechanism))
        await producer.start()
        try:
            await producer.send_and_wait(topic, b"hello")
        finally:
            await producer.stop()

    asyncio.run(asyncio.wait_for(write(), timeout=60))


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("user", ["alice", "nobody"])
def test_a_wrong_password_and_an_unknown_user_are_told_alike(guarded, mechanism, user):
    said = []
    settings = confluent(guarded, user, "wrong", mechanism) | {"error_cb": lambda error: said.append(str(error))}
    client = AdminClient(settings)
    until("the refusal", lambda _: any("_AUTHENTICATION" in line for line in said), lambda: client.poll(0.5))
    refusal = next(line for line in said if "_AUTHENTICATION" in line)
    assert ("Invalid username or password" if mechanism == "PLAIN" else "invalid credentials") in refusal
    assert "wrong" not in refusal


def test_kafka_python_is_told_of_a_wrong_password(guarded):
    with pytest.raises(KafkaError):
        kafka.KafkaAdminClient(**python(guarded, "alice", "wrong"), bootstrap_timeout_ms=5000)


def test_a_user_may_do_what_acls_allow_and_nothing_else(guarded, admin, topic):
    refused = []
    producer = Producer(confluent(guarded, "alice", "alice-secret"))
    producer.produce(topic, b"too early", on_delivery=lambda error, _: refused.append(error))
    producer.flush(30)
    assert refused and "TOPIC_AUTHORIZATION_FAILED" in refused[0].name()
    allow(admin, "alice", topic, AclOperation.WRITE)
    delivered = []
    producer = Producer(confluent(guarded, "alice", "alice-secret"))
    producer.produce(topic, b"now", on_delivery=lambda error, _: delivered.append(error))
    producer.flush(30)
    assert delivered == [None]
    # She may write, so she knows that the topic exists; bob does not.
    assert topic in AdminClient(confluent(guarded, "alice", "alice-secret")).list_topics(timeout=30).topics
    assert topic not in AdminClient(confluent(guarded, "bob", "bob-secret")).list_topics(timeout=30).topics


def test_users_are_added_while_the_broker_runs(guarded, admin):
    name = f"carol-{uuid.uuid4().hex[:8]}"
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    upsertion = UserScramCredentialUpsertion(name, info, b"carol-secret")
    admin.alter_user_scram_credentials([upsertion])[name].result(timeout=30)
    described = admin.describe_user_scram_credentials([name])[name].result(timeout=30)
    assert described.scram_credential_infos[0].iterations == 4096
    client = AdminClient(confluent(guarded, name, "carol-secret", "SCRAM-SHA-512"))
    assert client.list_topics(timeout=30).brokers


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory):
    """The address of a broker with TLS and logins, and the file with what clients have to trust."""
    binary = os.environ.get("RUSTKA_BIN")
    if not binary:
        pytest.skip("needs a broker of its own: set RUSTKA_BIN")
    folder = tmp_path_factory.mktemp("tls")
    (folder / "users.txt").write_text(USERS)
    command = [binary, "--port", "0", "--http-port", "0", "--user-file", str(folder / "users.txt"), "--tls-self-signed"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    bootstrap = json.loads(process.stdout.readline())["bootstrap"]
    lines = iter(process.stdout.readline, "")
    trusted = []
    for line in lines:
        trusted.append(line)
        if "END CERTIFICATE" in line:
            break
    (folder / "ca.pem").write_text("".join(trusted))
    yield bootstrap, str(folder / "ca.pem")
    process.terminate()
    assert process.wait(timeout=30) == 0


def confluent_tls(encrypted, *user):
    bootstrap, trusted = encrypted
    return confluent(bootstrap, *user) | {"security.protocol": "SASL_SSL", "ssl.ca.location": trusted}


def python_tls(encrypted, *user):
    bootstrap, trusted = encrypted
    return python(bootstrap, *user) | {
        "security_protocol": "SASL_SSL",
        "ssl_context": ssl.create_default_context(cafile=trusted),
    }


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_confluent_kafka_logs_in_within_tls(encrypted, mechanism):
    settings = confluent_tls(encrypted, "alice", "alice-secret", mechanism)
    name = f"tls-{uuid.uuid4().hex[:8]}"
    producer = Producer(settings)
    producer.produce(name, b"hello" * 100_000)
    assert producer.flush(30) == 0
    consumer = Consumer(settings | {"group.id": name, "auto.offset.reset": "earliest"})
    consumer.subscribe([name])
    assert read_confluent(consumer, 1)[0].value() == b"hello" * 100_000
    consumer.close()


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_kafka_python_logs_in_within_tls(encrypted, mechanism):
    settings = python_tls(encrypted, "alice", "alice-secret", mechanism)
    name = f"tls-{uuid.uuid4().hex[:8]}"
    producer = kafka.KafkaProducer(**settings)
    producer.send(name, b"hello").get(timeout=30)
    producer.close()
    consumer = kafka.KafkaConsumer(name, auto_offset_reset="earliest", **settings)
    assert read_kafka_python(consumer, 1)[0].value == b"hello"
    consumer.close()


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_aiokafka_logs_in_within_tls(encrypted, mechanism):
    async def write():
        producer = aiokafka.AIOKafkaProducer(**python_tls(encrypted, "alice", "alice-secret", mechanism))
        await producer.start()
        try:
            await producer.send_and_wait(f"tls-{uuid.uuid4().hex[:8]}", b"hello")
        finally:
            await producer.stop()

    asyncio.run(asyncio.wait_for(write(), timeout=60))


def test_a_wrong_password_is_told_within_tls_too(encrypted):
    said = []
    settings = confluent_tls(encrypted, "alice", "wrong") | {"error_cb": lambda error: said.append(str(error))}
    client = AdminClient(settings)
    until("the refusal", lambda _: any("_AUTHENTICATION" in line for line in said), lambda: client.poll(0.5))
    assert any("Invalid username or password" in line for line in said)


def test_who_does_not_trust_the_broker_is_told_so(encrypted):
    said = []
    settings = confluent_tls(encrypted, "alice", "alice-secret") | {"error_cb": lambda error: said.append(str(error))}
    del settings["ssl.ca.location"]
    client = AdminClient(settings)
    until("the refusal", lambda _: any("_SSL" in line for line in said), lambda: client.poll(0.5))
    assert any("certificate verify failed" in line for line in said), said


def unsigned(user, seconds):
    """A token that nobody has signed."""
    expires = time.time() + seconds

    def part(fields):
        return base64.urlsafe_b64encode(json.dumps(fields).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none'})}.{part({'sub': user, 'exp': int(expires)})}.", expires


@pytest.fixture(scope="module")
def tokens():
    """The address of a broker that believes tokens that nobody has signed: good enough for a lesson, and for nothing else."""
    binary = os.environ.get("RUSTKA_BIN")
    if not binary:
        pytest.skip("needs a broker of its own: set RUSTKA_BIN")
    command = [binary, "--http-port", "0", "-c", "listeners=SASL_PLAINTEXT://127.0.0.1:0"]
    command += ["-c", "sasl.enabled.mechanisms=OAUTHBEARER", "-c", "rustka.oauthbearer.unsecured=true"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    yield json.loads(process.stdout.readline())["bootstrap"]
    process.terminate()
    assert process.wait(timeout=30) == 0


def confluent_token(bootstrap, token, expires):
    return AdminClient(
        {
            "bootstrap.servers": bootstrap,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "OAUTHBEARER",
            "oauth_cb": lambda _: (token, expires, "alice", {}),
        }
    )


def test_confluent_kafka_logs_in_with_a_token(tokens):
    admin = confluent_token(tokens, *unsigned("alice", 3600))
    assert admin.list_topics(timeout=10).orig_broker_id == 1


def test_a_token_that_has_expired_is_refused(tokens):
    token, _ = unsigned("alice", -60)
    admin = confluent_token(tokens, token, time.time() + 3600)
    with pytest.raises(KafkaException):
        admin.list_topics(timeout=3)


def test_kafka_python_logs_in_with_a_token(tokens):
    class Provider(AbstractTokenProvider):
        def token(self):
            return unsigned("alice", 3600)[0]

    settings = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "OAUTHBEARER"}
    admin = kafka.KafkaAdminClient(bootstrap_servers=tokens, sasl_oauth_token_provider=Provider(), **settings)
    assert admin.list_topics() == []
    admin.close()
