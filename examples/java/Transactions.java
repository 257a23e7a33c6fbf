// The lesson on transactions with Kafka's own client: a copy that counts every record once although it is aborted halfway,
// and a producer that was replaced and can no longer write.

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Transactions {
    static final int RECORDS = 200;
    static String bootstrap;

    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[0];
        String from = arguments[1], to = from + "-copy", group = "copier-of-" + from;
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(new NewTopic(from, 2, (short) 1), new NewTopic(to, 2, (short) 1))).all().get();
            try (KafkaProducer<String, String> writer = producer(null)) {
                for (int n = 0; n < RECORDS; n++) {
                    writer.send(new ProducerRecord<>(from, n % 2, null, Integer.toString(n)));
                }
            }
            copy(from, to, group);
            List<String> copied = values(to, RECORDS);
            check(copied.stream().distinct().count() == RECORDS, "every record is there, and once");
            var offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
            check(offsets.values().stream().mapToLong(OffsetAndMetadata::offset).sum() == RECORDS, "all is read");

            // Whoever begins under the same id takes the place of the one before.
            try (KafkaProducer<String, String> zombie = producer("id-" + from)) {
                zombie.initTransactions();
                zombie.beginTransaction();
                zombie.send(new ProducerRecord<>(to, 0, null, "zombie")).get();
                try (KafkaProducer<String, String> next = producer("id-" + from)) {
                    next.initTransactions();
                    check(isFenced(zombie), "the zombie is told");
                    next.beginTransaction();
                    next.send(new ProducerRecord<>(to, 0, null, "next"));
                    next.commitTransaction();
                }
            }
            List<String> all = values(to, RECORDS + 1);
            check(all.contains("next") && !all.contains("zombie"), "nobody sees what a zombie wrote");
            admin.deleteConsumerGroups(List.of(group)).all().get();
            admin.deleteTopics(List.of(from, to)).all().get();
        }
        System.out.println(RECORDS + " records copied once, 1 zombie fenced");
    }

    /** Reads, writes, and commits what was read in the same transaction; the first few transactions are aborted. */
    static void copy(String from, String to, String group) {
        int copied = 0, transactions = 0;
        try (KafkaProducer<String, String> writer = producer("copier-" + from);
                KafkaConsumer<String, String> reader = consumer(group)) {
            writer.initTransactions();
            reader.subscribe(List.of(from));
            for (long end = System.currentTimeMillis() + 60_000; copied < RECORDS;) {
                check(System.currentTimeMillis() < end, copied + " records copied in a minute");
                var records = reader.poll(Duration.ofMillis(100));
                if (records.isEmpty()) {
                    continue;
                }
                writer.beginTransaction();
                Map<TopicPartition, OffsetAndMetadata> read = new HashMap<>();
                for (ConsumerRecord<String, String> record : records) {
                    writer.send(new ProducerRecord<>(to, record.partition(), null, record.value()));
                    TopicPartition partition = new TopicPartition(from, record.partition());
                    read.put(partition, new OffsetAndMetadata(record.offset() + 1));
                }
                writer.sendOffsetsToTransaction(read, reader.groupMetadata());
                if (transactions++ < 3) {
                    writer.abortTransaction();
                    // Back to what is committed.
                    var committed = reader.committed(reader.assignment());
                    reader.assignment().forEach(partition -> {
                        OffsetAndMetadata at = committed.get(partition);
                        reader.seek(partition, at == null ? 0 : at.offset());
                    });
                    continue;
                }
                writer.commitTransaction();
                copied += records.count();
            }
        }
    }

    static boolean isFenced(KafkaProducer<String, String> zombie) {
        try {
            zombie.commitTransaction();
            return false;
        } catch (ProducerFencedException | InvalidProducerEpochException fenced) {
            return true;
        } catch (KafkaException other) {
            return other.getCause() instanceof ProducerFencedException
                    || other.getCause() instanceof InvalidProducerEpochException;
        }
    }

    /** The committed values of a topic: so many, and after that nothing for a while. */
    static List<String> values(String topic, int count) {
        List<String> values = new ArrayList<>();
        try (KafkaConsumer<String, String> reader = consumer("reader-" + System.nanoTime())) {
            var partitions = List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1));
            reader.assign(partitions);
            reader.seekToBeginning(partitions);
            long end = System.currentTimeMillis() + 30_000;
            while (values.size() < count && System.currentTimeMillis() < end) {
                reader.poll(Duration.ofMillis(100)).forEach(record -> values.add(record.value()));
            }
            reader.poll(Duration.ofMillis(300)).forEach(record -> values.add(record.value()));
        }
        check(values.size() == count, count + " values, not " + values.size());
        return values;
    }

    static KafkaProducer<String, String> producer(String id) {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", bootstrap));
        if (id != null) {
            config.put("transactional.id", id);
        }
        return new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
    }

    static KafkaConsumer<String, String> consumer(String group) {
        Map<String, Object> config = Map.of("bootstrap.servers", bootstrap, "group.id", group, "isolation.level",
                "read_committed", "enable.auto.commit", "false", "auto.offset.reset", "earliest", "max.poll.records", "17");
        return new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }
}
