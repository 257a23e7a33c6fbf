#!/usr/bin/env bash
# A transactional batch whose sequence an ordinary batch of the same producer had before is a duplicate to Kafka, although
# one was written for everybody and the other for a transaction: it is acknowledged with the ordinary record's offset and
# never written, and the transaction commits. Producers count sequences per partition and epoch, not per transaction.
. "$(dirname "$0")/common/kafka.sh"

start_kafka
package crc32c==2.9.post0
tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$BOOTSTRAP" --create --topic t --partitions 1 > /dev/null
cat > "$FOLDER/twice.py" <<'P'
import socket, struct, sys, time
from crc32c import crc32c

host, port = sys.argv[1].split(":")
connection = socket.create_connection((host, int(port)), 30)
def text(value): return struct.pack(">h", len(value)) + value
def ask(key, version, body):
    frame = struct.pack(">hhi", key, version, 1) + text(b"finding") + body
    connection.sendall(struct.pack(">i", len(frame)) + frame)
    (size,) = struct.unpack(">i", connection.recv(4, socket.MSG_WAITALL))
    return connection.recv(size, socket.MSG_WAITALL)[4:]
def batch(value, pid, epoch, transactional):
    # Attributes, time and offset 0; no key; the value; no headers. Lengths are zigzag varints of one byte.
    record = bytes([0, 0, 0, 1, len(value) * 2]) + value + bytes([0])
    records = bytes([len(record) * 2]) + record
    now = int(time.time() * 1000)
    covered = struct.pack(">hiqqqhii", 0x10 if transactional else 0, 0, now, now, pid, epoch, 0, 1) + records
    return struct.pack(">qiib", 0, len(covered) + 9, -1, 2) + struct.pack(">I", crc32c(covered)) + covered
def produce(transactional_id, records):
    body = transactional_id + struct.pack(">hi", -1, 30000) + struct.pack(">i", 1) + text(b"t")
    body += struct.pack(">iii", 1, 0, len(records)) + records
    error, offset = struct.unpack_from(">hq", ask(0, 8, body), 4 + 3 + 4 + 4)
    return error, offset
def patient(key, version, body, at):
    deadline = time.monotonic() + 30
    while True:
        answer = ask(key, version, body)
        (error,) = struct.unpack_from(">h", answer, at)
        # Coordinators load when they are first asked for.
        if error not in (14, 15, 16) or time.monotonic() > deadline:
            return error, answer[at + 2:]
        time.sleep(0.1)

NAME = text(b"transfers")
patient(10, 1, NAME + b"\1", 4)
_, answer = patient(22, 1, NAME + struct.pack(">i", 60000), 4)
pid, epoch = struct.unpack_from(">qh", answer)
print("ordinary: error %d, offset %d" % produce(struct.pack(">h", -1), batch(b"ordinary", pid, epoch, False)))
who = NAME + struct.pack(">qh", pid, epoch)
ask(24, 1, who + struct.pack(">i", 1) + text(b"t") + struct.pack(">ii", 1, 0))
print("transactional: error %d, offset %d" % produce(NAME, batch(b"transactional", pid, epoch, True)))
print("commit: error %d" % patient(26, 1, who + b"\1", 4)[0])
P
seen=$("$FOLDER/python/bin/python" "$FOLDER/twice.py" "$BOOTSTRAP")
echo "$seen"
holds "both writes succeed, at one offset" contains "$seen" "ordinary: error 0, offset 0
transactional: error 0, offset 0"
holds "the transaction commits" contains "$seen" "commit: error 0"
stop_kafka
values=$(grep -ao 'ordinary\|transactional' "$FOLDER/kafka/logs/t-0/00000000000000000000.log")
echo "in the log:" $values
holds "the log has the ordinary record" contains "$values" ordinary
holds "and nothing of the transaction" lacks "$values" transactional
