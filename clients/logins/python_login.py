"""One login with a client for Python: LIBRARY BOOTSTRAP MECHANISM USER SECRET CA, the last one empty where there is no TLS.

Prints OK, or ERR and what the library says, in its exception or else in its log.
"""

import asyncio
import logging
import os
import re
import sys
import threading

PATIENCE_SECONDS = 6

library, bootstrap, mechanism, user, secret, ca = sys.argv[1:]
protocol = "SASL_SSL" if ca else "SASL_PLAINTEXT"


class Told(logging.Handler):
    """Keeps what a library logs, which is where some of them put the reason."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        line = record.getMessage()
        if record.exc_info and record.exc_info[1]:
            line += f" {record.exc_info[1]!r}"
        if line not in self.lines:
            self.lines.append(line)


told = Told()
logging.root.handlers = [told]
logging.root.setLevel(logging.WARNING)


def end(*words):
    """Whatever threads the library still has. Of what it has logged the likely reasons come first."""
    lines = sorted(told.lines, key=lambda line: not re.search("uthenticat|ertificate|SSL", line))
    print(*words, *(f"| {line}" for line in lines[:4] if words != ("OK",)), flush=True)
    os._exit(0)


def librdkafka():
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    errors = []
    config = {
        "bootstrap.servers": bootstrap,
        "security.protocol": protocol,
        "sasl.mechanism": mechanism,
        "error_cb": lambda error: errors.append(error.str()),
        "log_level": 0,
    }
    if ca:
        config["ssl.ca.location"] = ca
    if mechanism == "OAUTHBEARER":
        import time

        config["oauth_cb"] = lambda _: (secret, time.time() + 3600, user, {})
    else:
        config |= {"sasl.username": user, "sasl.password": secret}
    client = AdminClient(config)
    try:
        client.list_topics(timeout=4)
    except KafkaException as error:
        client.poll(0.1)
        end("ERR", *(errors or [str(error)])[:2])
    end("OK")


def settings(token_provider):
    """Of both clients that are written in Python."""
    common = {"bootstrap_servers": bootstrap, "security_protocol": protocol, "request_timeout_ms": 4000}
    if mechanism == "OAUTHBEARER":
        return common | {"sasl_mechanism": mechanism, "sasl_oauth_token_provider": token_provider()}
    return common | {"sasl_mechanism": mechanism, "sasl_plain_username": user, "sasl_plain_password": secret}


def kafka_python():
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError
    from kafka.net.sasl.oauth import AbstractTokenProvider

    class Provider(AbstractTokenProvider):
        def token(self):
            return secret

    # It tries again for as long as it may; nobody waits for that here.
    threading.Timer(PATIENCE_SECONDS, end, ["ERR still trying"]).start()
    tls = {"ssl_cafile": ca} if ca else {}
    try:
        KafkaAdminClient(**settings(Provider), **tls).list_topics()
    except (KafkaError, OSError) as error:
        end("ERR", repr(error))
    end("OK")


async def aiokafka():
    from aiokafka.abc import AbstractTokenProvider
    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.errors import KafkaError
    from aiokafka.helpers import create_ssl_context

    class Provider(AbstractTokenProvider):
        async def token(self):
            return secret

    tls = {"ssl_context": create_ssl_context(cafile=ca)} if ca else {}
    client = AIOKafkaAdminClient(**settings(Provider), **tls)
    try:
        await client.start()
        await client.list_topics()
    except (KafkaError, OSError) as error:
        end("ERR", repr(error))
    end("OK")


match library:
    case "librdkafka":
        librdkafka()
    case "kafka-python":
        kafka_python()
    case "aiokafka":
        asyncio.run(aiokafka())
