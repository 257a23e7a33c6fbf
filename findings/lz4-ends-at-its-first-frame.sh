#!/usr/bin/env bash
# Compressed data may be several frames (members, for gzip) one behind the other; every format says so, and a writer that
# flushes by closing makes them. Kafka's Java readers go on behind the first one with gzip and zstd. With lz4 they say
# that the data ends there: no error, the rest is just not read. The lz4 tool reads both.
. "$(dirname "$0")/common/kafka.sh"

cat > "$FOLDER/Frames.java" <<'J'
import java.io.FileOutputStream;
import java.nio.ByteBuffer;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.utils.AppInfoParser;
import org.apache.kafka.common.utils.BufferSupplier;
import org.apache.kafka.common.utils.ByteBufferOutputStream;

public class Frames {
    static void write(Compression codec, String text, ByteBufferOutputStream to) throws Exception {
        try (var frame = codec.wrapForOutput(to, (byte) 2)) { frame.write(text.getBytes()); }
    }

    public static void main(String[] arguments) throws Exception {
        System.out.println("kafka-clients " + AppInfoParser.getVersion());
        for (String name : new String[] {"gzip", "zstd", "lz4"}) {
            Compression codec = Compression.of(name).build();
            var frames = new ByteBufferOutputStream(4096);
            write(codec, "first ", frames);
            write(codec, "second", frames);
            ByteBuffer bytes = frames.buffer().flip();
            try (var file = new FileOutputStream(arguments[0] + "/" + name)) {
                file.write(bytes.array(), bytes.arrayOffset(), bytes.remaining());
            }
            try (var in = codec.wrapForInput(bytes, (byte) 2, BufferSupplier.NO_CACHING)) {
                System.out.println(name + ": " + new String(in.readAllBytes()).trim());
            }
        }
    }
}
J
seen=$(java -cp "$("$REPOSITORY/clients/oracle/kafka" classpath tools)" "$FOLDER/Frames.java" "$FOLDER" 2> "$FOLDER/java.log") || { cat "$FOLDER/java.log"; exit 2; }
package lz4==4.4.5
others=$("$FOLDER/python/bin/python" -c '
import lz4.frame, sys
print("lz4", lz4.library_version_string(), "for Python:", lz4.frame.open(sys.argv[1]).read().decode())' "$FOLDER/lz4")
echo "$seen"
echo "$others"
holds "Java reads both frames of gzip" contains "$seen" "gzip: first second"
holds "and of zstd" contains "$seen" "zstd: first second"
holds "of lz4 it reads the first, without an error" test "${seen##*lz4: }" = first
holds "where another reader of lz4 finds both" contains "$others" "first second"
