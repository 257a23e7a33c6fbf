#!/usr/bin/env bash
# Kafka Connect's JsonConverter refuses no number. A JSON integer from 2^63 on, as unsigned ids of 64 bits may be, comes out as
# another one, without an error. With a schema in the record it takes whatever the payload gives: the lowest 32 bits of
# 3000000000 for an int32, 0 for text where a number should be, false for the text "true", nothing for a number as a string.
. "$(dirname "$0")/common/kafka.sh"
cat > "$FOLDER/Convert.java" <<'J'
import java.util.Map;
import org.apache.kafka.connect.json.JsonConverter;

public class Convert {
    static String through(boolean schemas, String text) {
        var converter = new JsonConverter();
        converter.configure(Map.of("schemas.enable", schemas), false);
        var record = converter.toConnectData("t", text.getBytes());
        return new String(converter.fromConnectData("t", record.schema(), record.value()));
    }

    static void withSchema(String type, String payload) {
        var text = "{\"schema\":{\"type\":\"" + type + "\",\"optional\":true},\"payload\":" + payload + "}";
        System.out.println(type + " " + payload + " -> " + through(true, text).replaceAll(".*\"payload\":(.*)}", "$1"));
    }

    public static void main(String[] arguments) {
        System.out.println("connect-json " + org.apache.kafka.common.utils.AppInfoParser.getVersion());
        for (var number : new String[] {"9223372036854775807", "9223372036854775808", "18446744073709551615"}) {
            System.out.println(number + " -> " + through(false, number));
        }
        withSchema("int32", "3000000000");
        withSchema("int64", "\"7\"");
        withSchema("boolean", "\"true\"");
        withSchema("string", "7");
    }
}
J
seen=$(java -cp "$("$REPOSITORY/clients/oracle/kafka" classpath tools)" "$FOLDER/Convert.java" 2> "$FOLDER/java.log")
echo "$seen"
holds "2^63-1 stays what it is" contains "$seen" "9223372036854775807 -> 9223372036854775807"
holds "2^63 becomes -2^63" contains "$seen" "9223372036854775808 -> -9223372036854775808"
holds "2^64-1 becomes -1" contains "$seen" "18446744073709551615 -> -1"
holds "an int32 may be cut from a larger number" contains "$seen" "int32 3000000000 -> -1294967296"
holds "the text 7 becomes the number 0" contains "$seen" 'int64 "7" -> 0'
holds "the text true becomes false" contains "$seen" 'boolean "true" -> false'
holds "the number 7 becomes a missing text" contains "$seen" "string 7 -> null"
