"""Eight clients log in at a broker by each mechanism they have, with TLS and without, and are told what is wrong.

    logins.py --tools FOLDER --out FOLDER [--only REGEX]

FOLDER holds what logins.sh has installed. BROKER_BINARY is the broker, or the word kafka for Apache Kafka itself. What
each client is to say stands in EXPECTED; docs/security.md has it as a table for people.
"""

import argparse
import base64
import contextlib
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PASSWORDS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
TOKENS = "OAUTHBEARER"
USER, SECRET = "alice", "alice-secret"
# The certificate that expires holds for so long: a broker does not start with one that has.
HOLDS_SECONDS = 20
START_SECONDS = 60
CLIENT_SECONDS = 20
MODULES = "org.apache.kafka.common.security."

INVALID = r"Authentication failed: Invalid username or password"
INVALID_SCRAM = r"invalid credentials with SASL mechanism {mechanism}"
LOST = r"|still trying.*socket disconnected"
ALTNAMES = r"certificate's altnames"
EXPIRED = r"certificate has expired"

# What a client says, by case; {mechanism} is that of the case. Where nothing stands here, it has to come in.
EXPECTED = {
    "franz-go": {
        "wrong password": {"PLAIN": INVALID, "SCRAM": INVALID_SCRAM},
        "bad token": r"unexpected data in oauth response",
        "other name": r"certificate is valid for other\.example, not localhost",
        "expired certificate": EXPIRED,
        "no TLS where there is TLS": r"plaintext connection speaking to a tls endpoint",
        "TLS where there is none": r"is TLS misconfigured",
    },
    "sarama": {
        "wrong password": {"PLAIN": INVALID, "SCRAM": INVALID_SCRAM},
        "bad token": r"invalid credentials with SASL mechanism OAUTHBEARER",
        "other name": r"certificate is valid for other\.example, not localhost",
        "expired certificate": EXPIRED,
        "no TLS where there is TLS": r"EOF|connection reset",
        "TLS where there is none": r"EOF|connection reset",
    },
    "kafkajs": {
        "wrong password": {"PLAIN": INVALID, "SCRAM": INVALID_SCRAM},
        # Kafka answers what does not belong into a login, and then closes; hence the second of these, as of aiokafka.
        "bad token": r"Closed connection|No brokers in the broker pool",
        "other name": ALTNAMES,
        "expired certificate": EXPIRED,
        "no TLS where there is TLS": r"Closed connection|Connection error",
        "TLS where there is none": r"disconnected before secure TLS connection",
    },
    "platformatic": {
        "wrong password": {"PLAIN": r"SASL authentication failed", "SCRAM": r"SASL authentication failed"},
        "bad token": r"not valid given the current SASL state",
        "other name": ALTNAMES,
        "expired certificate": EXPIRED,
        "no TLS where there is TLS": r"Cannot connect to any broker",
        "TLS where there is none": r"Please verify the broker supports TLS",
    },
    "librdkafka": {
        "wrong password": {"PLAIN": INVALID, "SCRAM": INVALID_SCRAM},
        "bad token": r'\{"status":"invalid_token"\}',
        "other name": r"broker certificate could not be verified",
        "expired certificate": r"broker certificate could not be verified",
        "no TLS where there is TLS": r"brokers are down",
        # The hint is left out when the end comes before its handshake has looked.
        "TLS where there is none": r"connecting to a PLAINTEXT broker listener\?|SSL connection closed by peer",
    },
    # It reads nothing that comes together with the end of a connection, so that the reason mostly gets lost.
    "kafka-python": {
        "wrong password": {"PLAIN": INVALID + LOST, "SCRAM": INVALID_SCRAM + LOST},
        "bad token": r"invalid_token" + LOST,
        "other name": r"Hostname mismatch, certificate is not valid for 'localhost'",
        "expired certificate": EXPIRED,
        "no TLS where there is TLS": r"still trying.*socket disconnected",
        "TLS where there is none": r"Handshake failed.*EOF occurred",
    },
    "aiokafka": {
        "wrong password": {"PLAIN": INVALID, "SCRAM": INVALID_SCRAM},
        "bad token": r"Unable to bootstrap|No broker metadata found",
        "other name": r"Hostname mismatch",
        "expired certificate": EXPIRED,
        "no TLS where there is TLS": r"Unable to bootstrap",
        "TLS where there is none": r"Unable to bootstrap",
    },
    "java": {
        "wrong password": {"PLAIN": INVALID, "SCRAM": INVALID_SCRAM},
        "bad token": r'\{"status":"invalid_token"\}',
        "other name": r"SSL handshake failed.*No subject alternative DNS name matching localhost",
        "expired certificate": r"SSL handshake failed.*validity check failed",
        "no TLS where there is TLS": r"TimeoutException",
        "TLS where there is none": r"TimeoutException|SslAuthenticationException",
    },
}


@dataclass(frozen=True)
class Case:
    """One login: at which door, how, and what is to come of it."""

    name: str
    kind: str
    door: str
    mechanism: str
    user: str
    secret: str
    tls: bool


def cases(tokens):
    for mechanism in PASSWORDS:
        for name, kind, door, user, secret in [
            ("right", "", "open", USER, SECRET),
            ("right over TLS", "", "tls", USER, SECRET),
            ("wrong password", "wrong password", "open", USER, "nope"),
            ("unknown user", "wrong password", "open", "nobody", "nope"),
            ("wrong password over TLS", "wrong password", "tls", USER, "nope"),
        ]:
            yield Case(f"{mechanism}/{name}", kind, door, mechanism, user, secret, door == "tls")
    for name, kind, door, token in [
        ("right", "", "open", "good"),
        ("right over TLS", "", "tls", "good"),
        ("of somebody else", "bad token", "open", "foreign"),
        ("expired", "bad token", "open", "expired"),
    ]:
        yield Case(f"{TOKENS}/{name}", kind, door, TOKENS, USER, tokens[token], door == "tls")
    for kind, door, tls in [
        ("other name", "other", True),
        ("no TLS where there is TLS", "tls", False),
        ("TLS where there is none", "open", True),
        # Last, since that takes a while.
        ("expired certificate", "expiring", True),
    ]:
        yield Case(f"TLS/{kind}", kind, door, "PLAIN", USER, SECRET, tls)


def expected(client, case):
    if not case.kind:
        return r"^OK$"
    words = EXPECTED[client][case.kind]
    if isinstance(words, dict):
        words = words[case.mechanism.split("-")[0]]
    return r"^ERR.*?(" + words.replace("{mechanism}", case.mechanism) + ")"


def openssl(*arguments, folder):
    ended = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, check=False)
    if ended.returncode:
        raise SystemExit(f"openssl {arguments[0]}: {ended.stderr.decode()}")
    return ended.stdout


class Certificates:
    """An authority and what it has signed: for this host, for another one, and one that expires soon."""

    def __init__(self, folder):
        self.folder = folder
        self.ca = folder / "ca.pem"
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=logins", "-days", "2", folder=folder)
        (folder / "ca.cnf").write_text(
            "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ncertificate=ca.pem\n"
            "private_key=ca.key\ndefault_md=sha256\npolicy=p\ncopy_extensions=copy\n[p]\ncommonName=supplied\n"
        )
        (folder / "index").touch()
        (folder / "serial").write_text("01\n")
        self.expires = time.time() + HOLDS_SECONDS
        for name, host, seconds in [
            ("good", "localhost", 86400),
            ("other", "other.example", 86400),
            ("expiring", "localhost", HOLDS_SECONDS),
        ]:
            openssl("req", "-new", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}",
                    "-addext", f"subjectAltName=DNS:{host}", folder=folder)
            at = lambda offset: time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + offset))
            openssl("ca", "-batch", "-config", "ca.cnf", "-in", f"{name}.csr", "-out", f"{name}.crt", "-notext",
                    "-startdate", at(-3600), "-enddate", at(seconds), folder=folder)
            text = "".join((folder / part).read_text() for part in [f"{name}.key", f"{name}.crt", "ca.pem"])
            (folder / f"{name}.pem").write_text(text)


def tokens(folder):
    """Signed by the key that the broker is told of, and by another one; jwks.json holds the first."""
    encode = lambda part: base64.urlsafe_b64encode(part).rstrip(b"=").decode()
    for name in ["own", "other"]:
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", f"{name}-rsa.key", folder=folder)
    modulus = openssl("rsa", "-in", "own-rsa.key", "-noout", "-modulus", folder=folder).decode().strip().split("=")[1]
    key = {"kty": "RSA", "kid": "k1", "use": "sig", "alg": "RS256", "n": encode(bytes.fromhex(modulus)), "e": "AQAB"}
    (folder / "jwks.json").write_text(json.dumps({"keys": [key]}))

    def token(signer, seconds):
        now = int(time.time())
        header = {"alg": "RS256", "kid": "k1"}
        claims = {"sub": USER, "aud": "kafka", "iss": "logins", "iat": now - 7200, "exp": now + seconds, "scope": "kafka"}
        signed = ".".join(encode(json.dumps(part).encode()) for part in [header, claims])
        (folder / "signed").write_text(signed)
        return signed + "." + encode(openssl("dgst", "-sha256", "-sign", f"{signer}-rsa.key", "signed", folder=folder))

    return {"good": token("own", 7200), "foreign": token("other", 7200), "expired": token("own", -3600)}


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Broker:
    """A broker with four doors: without TLS, with it, with another name in the certificate, and with one that expires."""

    def __init__(self, binary, certificates, out):
        doors = dict(zip(["open", "tls", "other", "expiring"], free_ports(4)))
        self.doors = {name: f"localhost:{port}" for name, port in doors.items()}
        is_kafka = binary == "kafka"
        listeners = [f"{name.upper()}://127.0.0.1:{port}" for name, port in doors.items()]
        told = [f"{name.upper()}://localhost:{port}" for name, port in doors.items()]
        protocols = [f"{name.upper()}:{'SASL_PLAINTEXT' if name == 'open' else 'SASL_SSL'}" for name in doors]
        configs = {
            "sasl.enabled.mechanisms": ",".join([*PASSWORDS, TOKENS]),
            "sasl.oauthbearer.jwks.endpoint.url": f"file://{certificates.folder}/jwks.json",
            "sasl.oauthbearer.expected.audience": "kafka",
            "sasl.oauthbearer.expected.issuer": "logins",
            "advertised.listeners": ",".join(told),
        }
        for door, pem in [("tls", "good"), ("other", "other"), ("expiring", "expiring")]:
            configs[f"listener.name.{door}.ssl.keystore.type"] = "PEM"
            configs[f"listener.name.{door}.ssl.keystore.location"] = str(certificates.folder / f"{pem}.pem")
        self.log = out / "logins-broker.log"
        if is_kafka:
            command, configs = self.kafka(doors, listeners, protocols, configs, certificates.folder)
        else:
            configs["listeners"] = ",".join(listeners)
            configs["listener.security.protocol.map"] = ",".join(protocols)
            command = [binary, "--http-port", "0", "--user", f"{USER}:{SECRET}"]
            command += [word for pair in configs.items() for word in ("-c", "=".join(pair))]
        environment = os.environ | {"RUST_LOG": "info"}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        self.wait(certificates.folder / "kafka/server.log" if is_kafka else self.log, is_kafka)

    def kafka(self, doors, listeners, protocols, configs, folder):
        port = free_ports(1)[0]
        base = f"PLAINTEXT://127.0.0.1:{port}"
        control = f"CONTROLLER://127.0.0.1:{port + 1}"
        configs["listeners"] = ",".join([base, control, *listeners])
        configs["advertised.listeners"] = ",".join([base, configs["advertised.listeners"]])
        configs["listener.security.protocol.map"] = ",".join(["PLAINTEXT:PLAINTEXT", "CONTROLLER:PLAINTEXT", *protocols])
        plain = f'{MODULES}plain.PlainLoginModule required user_{USER}="{SECRET}";'
        for door in doors:
            configs[f"listener.name.{door}.plain.sasl.jaas.config"] = plain
            for strength in ["256", "512"]:
                scram = f"{MODULES}scram.ScramLoginModule required;"
                configs[f"listener.name.{door}.scram-sha-{strength}.sasl.jaas.config"] = scram
            bearer = f"listener.name.{door}.oauthbearer.sasl."
            configs[f"{bearer}jaas.config"] = f"{MODULES}oauthbearer.OAuthBearerLoginModule required;"
            handler = f"{MODULES}oauthbearer.OAuthBearerValidatorCallbackHandler"
            configs[f"{bearer}server.callback.handler.class"] = handler
        self.admin = f"127.0.0.1:{port}"
        os.environ["JAVA_TOOL_OPTIONS"] = f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://{folder}/jwks.json"
        command = [str(HERE.parent / "oracle/kafka"), "start", str(port), str(folder / "kafka")]
        return command + ["=".join(pair) for pair in configs.items()], configs

    def wait(self, log, is_kafka):
        ready = "Kafka Server started" if is_kafka else '"ready":true'
        deadline = time.monotonic() + START_SECONDS
        while not log.exists() or ready not in log.read_text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the broker does not start: see {log}")
            time.sleep(0.05)
        if is_kafka:
            os.environ.pop("JAVA_TOOL_OPTIONS")
            for strength in ["256", "512"]:
                config = f"SCRAM-SHA-{strength}=[password={SECRET}]"
                command = [HERE.parent / "oracle/kafka", "tool", "kafka.admin.ConfigCommand", "--bootstrap-server", self.admin]
                command += ["--alter", "--add-config", config, "--entity-type", "users", "--entity-name", USER]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def commands(tools):
    """How each client is called; all take the same words."""
    node = ["node"]
    python = [sys.executable, str(HERE / "python_login.py")]
    return {
        "franz-go": [str(tools / "franz-go")],
        "sarama": [str(tools / "sarama")],
        "kafkajs": [*node, str(tools / "node/kafkajs.js")],
        "platformatic": [*node, str(tools / "node/platformatic.mjs")],
        "librdkafka": [*python, "librdkafka"],
        "kafka-python": [*python, "kafka-python"],
        "aiokafka": [*python, "aiokafka"],
    }


def words(broker, certificates, case):
    ca = str(certificates.ca) if case.tls else ""
    return [broker.doors[case.door], case.mechanism, case.user, case.secret, ca]


def said(command, given=None, seconds=CLIENT_SECONDS):
    """What a client prints; warnings of its runtime do not count."""
    try:
        ended = subprocess.run(command, input=given, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return [f"no answer in {seconds} seconds"]
    lines = [line for line in ended.stdout.splitlines() if line.startswith(("OK", "ERR"))]
    return lines or [f"nothing said: {ended.stderr.strip()[-300:]}"]


class Results:
    def __init__(self, out):
        self.table = open(out / "logins.tsv", "w", encoding="utf-8")
        self.log = open(out / "logins.log", "w", encoding="utf-8")
        self.counts = {"pass": 0, "fail": 0}

    def add(self, client, case, line, seconds):
        wanted = expected(client, case)
        outcome = "pass" if re.search(wanted, line) else "fail"
        self.counts[outcome] += 1
        print(f"{client}/{case.name}\t{outcome}\t{seconds:.2f}", file=self.table, flush=True)
        print(f"{client}/{case.name}: {outcome}, wanted {wanted}, said {line[:600]}", file=self.log, flush=True)


def run(client, command, chosen, broker, certificates, results):
    for case in chosen:
        if case.door == "expiring":
            time.sleep(max(0, certificates.expires + 1 - time.time()))
        begun = time.monotonic()
        lines = said([*command, *words(broker, certificates, case)])
        results.add(client, case, lines[0], time.monotonic() - begun)


def run_java(tools, chosen, broker, certificates, results):
    """All in one process, whose start is most of what each would take."""
    time.sleep(max(0, certificates.expires + 1 - time.time()))
    given = "\n".join("|".join(words(broker, certificates, case)) for case in chosen)
    classpath = (tools / "java-classpath").read_text().strip()
    begun = time.monotonic()
    lines = said(["java", "-Xmx200m", "-cp", f"{tools}/java:{classpath}", "Login"], given, CLIENT_SECONDS * len(chosen))
    seconds = (time.monotonic() - begun) / len(chosen)
    for case, line in itertools.zip_longest(chosen, lines[: len(chosen)], fillvalue="no line"):
        results.add("java", case, line, seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tools", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="a regular expression over client/mechanism/case")
    chosen = parser.parse_args()
    folder = chosen.out / "logins"
    subprocess.run(["rm", "-rf", folder], check=True)
    folder.mkdir(parents=True)
    folder = folder.resolve()
    every = list(cases(tokens(folder)))
    certificates = Certificates(folder)
    broker = Broker(os.environ["BROKER_BINARY"], certificates, chosen.out)
    results = Results(chosen.out)
    try:
        with ThreadPoolExecutor(2) as pool:
            running = []
            for client, command in [*commands(chosen.tools).items(), ("java", None)]:
                own = [case for case in every if re.search(chosen.only, f"{client}/{case.name}")]
                if own and command:
                    running.append(pool.submit(run, client, command, own, broker, certificates, results))
                elif own:
                    running.append(pool.submit(run_java, chosen.tools, own, broker, certificates, results))
            for one in running:
                one.result()
    finally:
        broker.stop()
    print(f"logins: {results.counts['pass']} passed, {results.counts['fail']} failed")


main()
