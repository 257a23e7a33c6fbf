// The lesson on consumer groups with Kafka's own client: two members share a topic, one leaves, a third goes on.
// Groups are classic, or of the new protocol (KIP-848) if a third argument says consumer.

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Group {
    static final int PARTITIONS = 4;
    static String protocol;

    public static void main(String[] arguments) throws Exception {
        String bootstrap = arguments[0], topic = arguments[1], group = "group-of-" + topic;
        protocol = arguments.length > 2 ? arguments[2] : "classic";
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) 1))).all().get();
            Member first = new Member(bootstrap, topic, group), second = new Member(bootstrap, topic, group);
            until("two partitions each", List.of(first, second), () -> first.holds(2) && second.holds(2));

            write(bootstrap, topic, 0, 400);
            until("400 records", List.of(first, second), () -> first.values.size() + second.values.size() == 400);

            // Who leaves commits in its revoke callback, and hands its partitions over at once.
            second.consumer.close();
            until("all partitions", List.of(first), () -> first.holds(PARTITIONS));
            first.consumer.close();
            var committed = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
            for (int partition = 0; partition < PARTITIONS; partition++) {
                check(committed.get(new TopicPartition(topic, partition)).offset() == 100, "100 committed");
            }

            // A new member begins where the others stopped.
            write(bootstrap, topic, 400, 40);
            Member third = new Member(bootstrap, topic, group);
            until("40 records", List.of(third), () -> third.values.size() == 40);
            check(third.values.stream().allMatch(value -> Integer.parseInt(value) >= 400), "nothing twice");
            third.consumer.close();

            admin.deleteConsumerGroups(List.of(group)).all().get();
            admin.deleteTopics(List.of(topic)).all().get();
        }
        System.out.println("440 records shared by 3 members");
    }

    /** A consumer that remembers what it has read, and commits it when it loses a partition. */
    static class Member implements ConsumerRebalanceListener {
        final KafkaConsumer<String, String> consumer;
        final Set<String> values = new HashSet<>();

        Member(String bootstrap, String topic, String group) {
            Map<String, Object> config = new HashMap<>(Map.of(
                "bootstrap.servers", bootstrap, "group.id", group, "auto.offset.reset", "earliest",
                "enable.auto.commit", false, "group.protocol", protocol));
            if (protocol.equals("classic")) {
                // In the new protocol these are the broker's business.
                config.put("heartbeat.interval.ms", 300);
                config.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");
            }
            consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
            consumer.subscribe(List.of(topic), this);
        }

        boolean holds(int partitions) {
            return consumer.assignment().size() == partitions;
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            consumer.commitSync();
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {}
    }

    /** Polls all members until the condition holds. */
    static void until(String what, List<Member> members, BooleanSupplier condition) {
        long deadline = System.nanoTime() + Duration.ofMinutes(1).toNanos();
        while (!condition.getAsBoolean()) {
            check(System.nanoTime() < deadline, what + " before the deadline");
            for (Member member : members) {
                for (ConsumerRecord<String, String> record : member.consumer.poll(Duration.ofMillis(50))) {
                    check(member.values.add(record.value()), record.value() + " only once");
                }
            }
        }
    }

    static void write(String bootstrap, String topic, int from, int count) throws Exception {
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap);
        try (var producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            var sent = new ArrayList<java.util.concurrent.Future<?>>();
            for (int number = from; number < from + count; number++) {
                sent.add(producer.send(new ProducerRecord<>(topic, number % PARTITIONS, null, "" + number)));
            }
            for (var record : sent) {
                record.get();
            }
        }
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError("expected: " + what);
        }
    }
}
