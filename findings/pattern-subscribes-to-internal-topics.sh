#!/usr/bin/env bash
# The Java consumer leaves Kafka's internal topics out of subscribe(Pattern.compile(".*")). Since the new group protocol
# has the broker resolve patterns, subscribe(new SubscriptionPattern(".*")) consumes __consumer_offsets as well.
. "$(dirname "$0")/common/kafka.sh"

start_kafka
cat > "$FOLDER/Subscribed.java" <<'J'
import java.time.Duration;
import java.util.*;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public class Subscribed {
    public static void main(String[] args) throws Exception {
        Map<String, Object> server = Map.of("bootstrap.servers", args[0]);
        try (Admin admin = Admin.create(server)) {
            admin.createTopics(List.of(new NewTopic("orders", 1, (short) 1))).all().get();
        }
        for (String side : List.of("client", "broker")) {
            Map<String, Object> config = new HashMap<>(server);
            config.put("group.protocol", "consumer");
            config.put("group.id", side);
            try (Consumer<byte[], byte[]> consumer =
                    new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
                if (side.equals("client")) consumer.subscribe(Pattern.compile(".*"));
                else consumer.subscribe(new SubscriptionPattern(".*"));
                long deadline = System.nanoTime() + Duration.ofSeconds(30).toNanos();
                while (consumer.assignment().isEmpty() && System.nanoTime() < deadline)
                    consumer.poll(Duration.ofMillis(200));
                System.out.println(side + " resolves: " + consumer.assignment().stream()
                    .map(partition -> partition.topic()).collect(Collectors.toCollection(TreeSet::new)));
            }
        }
    }
}
J
classes=$("$REPOSITORY/clients/oracle/kafka" classpath server)
echo "$(grep -o 'kafka-clients-[0-9.]*[0-9]' <<< "$classes")"
seen=$(java -cp "$classes" "$FOLDER/Subscribed.java" "$BOOTSTRAP" 2> "$FOLDER/err") || { cat "$FOLDER/err"; exit 2; }
echo "$seen"
holds "a pattern of the client leaves internal topics out" contains "$seen" "client resolves: [orders]"
holds "one of the broker does not" contains "$seen" "broker resolves: [__consumer_offsets, orders]"
