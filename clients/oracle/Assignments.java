// Random consumer groups and what Kafka's own assignors give their members, one change after the other: written for
// Rustka's tests by `cargo xtask oracle assignments`. Maps are sorted and ids small, so that no order of a hash map shows.
//
// One line is one computation: topics with their sizes | members (id:instance:topics) | what they should have had so far |
// what range gives | what uniform gives. The next line goes on from what uniform has given.

import java.io.PrintWriter;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.StringJoiner;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.coordinator.group.api.assignor.ConsumerGroupPartitionAssignor;
import org.apache.kafka.coordinator.group.api.assignor.SubscribedTopicDescriber;
import org.apache.kafka.coordinator.group.api.assignor.SubscriptionType;
import org.apache.kafka.coordinator.group.assignor.RangeAssignor;
import org.apache.kafka.coordinator.group.assignor.UniformAssignor;
import org.apache.kafka.coordinator.group.modern.Assignment;
import org.apache.kafka.coordinator.group.modern.GroupSpecImpl;
import org.apache.kafka.coordinator.group.modern.MemberSubscriptionAndAssignmentImpl;

class Assignments {
    static final int GROUPS = 250;
    static final int CHANGES = 8;
    static final Random random = new Random(848);

    final TreeMap<String, Integer> topics = new TreeMap<>();
    final TreeMap<String, Optional<String>> instances = new TreeMap<>();
    final TreeMap<String, TreeSet<String>> wishes = new TreeMap<>();
    Map<String, Map<Uuid, Set<Integer>>> before = new HashMap<>();
    int members = 0;

    static Uuid id(String topic) {
        return new Uuid(0, topic.charAt(0) - 'a' + 1);
    }

    static String name(Uuid id) {
        return String.valueOf((char) ('a' + id.getLeastSignificantBits() - 1));
    }

    TreeSet<String> someTopics(boolean all) {
        TreeSet<String> some = new TreeSet<>();
        for (String topic : topics.keySet()) {
            if (all || random.nextInt(3) > 0) some.add(topic);
        }
        return some;
    }

    void join(boolean alike) {
        String member = String.format("m%03d", random.nextInt(900) + 10 * members++ % 100);
        instances.put(member, random.nextInt(4) == 0 ? Optional.of("i" + random.nextInt(1000)) : Optional.empty());
        wishes.put(member, someTopics(alike));
    }

    void change(boolean alike) {
        int what = random.nextInt(alike ? 4 : 5);
        if (what <= 1 || wishes.isEmpty()) {
            join(alike);
        } else if (what == 2) {
            String gone = List.copyOf(wishes.keySet()).get(random.nextInt(wishes.size()));
            wishes.remove(gone);
            instances.remove(gone);
            before.remove(gone);
        } else if (what == 3) {
            String topic = List.copyOf(topics.keySet()).get(random.nextInt(topics.size()));
            topics.merge(topic, random.nextInt(4), Integer::sum);
        } else {
            String member = List.copyOf(wishes.keySet()).get(random.nextInt(wishes.size()));
            wishes.put(member, someTopics(false));
        }
    }

    Map<String, Map<Uuid, Set<Integer>>> assign(ConsumerGroupPartitionAssignor assignor) {
        TreeMap<String, MemberSubscriptionAndAssignmentImpl> specs = new TreeMap<>();
        Map<Uuid, Map<Integer, String>> inverted = new HashMap<>();
        Set<Set<String>> kinds = new HashSet<>();
        for (String member : wishes.keySet()) {
            Set<Uuid> ids = new LinkedHashSet<>();
            for (String topic : wishes.get(member)) ids.add(id(topic));
            Map<Uuid, Set<Integer>> had = before.getOrDefault(member, Map.of());
            had.forEach((topic, partitions) -> partitions.forEach(partition ->
                inverted.computeIfAbsent(topic, __ -> new HashMap<>()).put(partition, member)));
            specs.put(member, new MemberSubscriptionAndAssignmentImpl(
                Optional.empty(), instances.get(member), ids, new Assignment(Collections.unmodifiableMap(had))));
            kinds.add(wishes.get(member));
        }
        SubscriptionType type = kinds.size() == 1 ? SubscriptionType.HOMOGENEOUS : SubscriptionType.HETEROGENEOUS;
        Map<String, Map<Uuid, Set<Integer>>> told = new TreeMap<>();
        if (specs.isEmpty()) return told;
        assignor.assign(new GroupSpecImpl(specs, type, inverted), new SubscribedTopicDescriber() {
            public int numPartitions(Uuid topic) {
                return topics.getOrDefault(name(topic), -1);
            }

            public Set<String> racksForPartition(Uuid topic, int partition) {
                return Set.of();
            }
        }).members().forEach((member, assignment) -> {
            TreeMap<Uuid, Set<Integer>> copy = new TreeMap<>();
            assignment.partitions().forEach((topic, partitions) -> {
                if (!partitions.isEmpty()) copy.put(topic, new TreeSet<>(partitions));
            });
            told.put(member, copy);
        });
        return told;
    }

    static String show(Map<String, Map<Uuid, Set<Integer>>> assignment) {
        StringJoiner line = new StringJoiner(" ");
        new TreeMap<>(assignment).forEach((member, topics) -> {
            StringJoiner shares = new StringJoiner(",");
            new TreeMap<>(topics).forEach((topic, partitions) ->
                new TreeSet<>(partitions).forEach(partition -> shares.add(name(topic) + partition)));
            if (shares.length() > 0) line.add(member + "=" + shares);
        });
        return line.toString();
    }

    void play(PrintWriter out, boolean alike) {
        int count = 1 + random.nextInt(5);
        for (int at = 0; at < count; at++) topics.put(String.valueOf((char) ('a' + at)), 1 + random.nextInt(9));
        int first = 1 + random.nextInt(4);
        for (int at = 0; at < first; at++) join(alike);
        for (int change = 0; change < CHANGES; change++) {
            Map<String, Map<Uuid, Set<Integer>>> uniform = assign(new UniformAssignor());
            StringJoiner sizes = new StringJoiner(" "), who = new StringJoiner(" ");
            topics.forEach((topic, size) -> sizes.add(topic + size));
            wishes.forEach((member, wanted) ->
                who.add(member + ":" + instances.get(member).orElse("") + ":" + String.join("", wanted)));
            out.println(sizes + "|" + who + "|" + show(before) + "|" + show(assign(new RangeAssignor())) + "|" + show(uniform));
            before = uniform;
            change(alike);
        }
    }

    public static void main(String[] arguments) throws Exception {
        try (PrintWriter out = new PrintWriter(arguments[0], "UTF-8")) {
            for (int group = 0; group < GROUPS; group++) new Assignments().play(out, group % 2 == 0);
        }
    }
}
