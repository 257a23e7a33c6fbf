#!/usr/bin/env bash
# Two changes of one user's quotas in one call of the admin client: the call fails, naming the user as a duplicate, and
# the first change has been made. Who tries again after "repairing" the call has no way to know.
. "$(dirname "$0")/common/kafka.sh"

start_kafka
cat > "$FOLDER/Twice.java" <<'J'
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.quota.ClientQuotaFilter;

public class Twice {
    static ClientQuotaAlteration change(String key, double value) {
        var ann = new ClientQuotaEntity(Map.of(ClientQuotaEntity.USER, "ann"));
        return new ClientQuotaAlteration(ann, List.of(new ClientQuotaAlteration.Op(key, value)));
    }

    public static void main(String[] arguments) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", arguments[0]))) {
            try {
                admin.alterClientQuotas(List.of(change("producer_byte_rate", 1000), change("consumer_byte_rate", 2000))).all().get();
                System.out.println("the call succeeded");
            } catch (ExecutionException refused) {
                System.out.println("the call failed: " + refused.getCause().getMessage());
            }
            // What the controller has decided reaches the broker a moment later.
            long deadline = System.nanoTime() + 10_000_000_000L;
            var kept = admin.describeClientQuotas(ClientQuotaFilter.all()).entities().get();
            while (kept.isEmpty() && System.nanoTime() < deadline) {
                Thread.sleep(50);
                kept = admin.describeClientQuotas(ClientQuotaFilter.all()).entities().get();
            }
            System.out.println("kept: " + kept.values());
        }
    }
}
J
seen=$(java -cp "$("$REPOSITORY/clients/oracle/kafka" classpath tools)" "$FOLDER/Twice.java" "$BOOTSTRAP" 2> "$FOLDER/java.log") || { cat "$FOLDER/java.log"; exit 2; }
echo "$seen"
holds "the call is refused as a whole" contains "$seen" "the call failed: Ignoring duplicate entity"
holds "and its first half was done" contains "$seen" "kept: [{producer_byte_rate=1000.0}]"
