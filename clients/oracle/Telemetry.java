import java.util.List;
import java.util.Map;
import org.apache.kafka.common.metrics.KafkaMetric;
import org.apache.kafka.common.metrics.MetricsReporter;
import org.apache.kafka.server.telemetry.ClientTelemetry;
import org.apache.kafka.server.telemetry.ClientTelemetryReceiver;

/** Takes the metrics that clients push and throws them away: without a receiver Kafka does not offer to take them (KIP-714). */
public class Telemetry implements MetricsReporter, ClientTelemetry {
    @Override public ClientTelemetryReceiver clientReceiver() { return (context, payload) -> payload.data(); }
    @Override public void init(List<KafkaMetric> metrics) { }
    @Override public void metricChange(KafkaMetric metric) { }
    @Override public void metricRemoval(KafkaMetric metric) { }
    @Override public void close() { }
    @Override public void configure(Map<String, ?> configs) { }
}
