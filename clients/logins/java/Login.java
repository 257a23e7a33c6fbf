import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;

/**
 * Logins with Kafka's own client, one for each line of the standard input: BOOTSTRAP|MECHANISM|USER|SECRET|CA, the last
 * one empty where there is no TLS. Prints a line for each: OK, or ERR and what the library says, the causes behind it too.
 * Each begins on a line of its own, since what the library logs may not end with one.
 */
public class Login {
    private static final String MODULES = "org.apache.kafka.common.security.";

    public static void main(String[] arguments) throws Exception {
        for (String line : new String(System.in.readAllBytes()).split("\n")) {
            String[] parts = line.split("\\|", -1);
            try (Admin admin = Admin.create(config(parts[0], parts[1], parts[2], parts[3], parts[4]))) {
                admin.listTopics().names().get(7, TimeUnit.SECONDS);
                System.out.println("\nOK");
            } catch (Exception | Error e) {
                StringBuilder told = new StringBuilder("ERR");
                for (Throwable cause = e; cause != null; cause = cause.getCause()) {
                    told.append(' ').append(cause.getClass().getSimpleName()).append(": ").append(cause.getMessage());
                }
                System.out.println("\n" + told.toString().replace('\n', ' '));
            }
        }
        System.exit(0);
    }

    private static Properties config(String bootstrap, String mechanism, String user, String secret, String ca) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("security.protocol", ca.isEmpty() ? "SASL_PLAINTEXT" : "SASL_SSL");
        config.put("default.api.timeout.ms", "6000");
        config.put("request.timeout.ms", "4000");
        if (!ca.isEmpty()) {
            config.put("ssl.truststore.type", "PEM");
            config.put("ssl.truststore.location", ca);
        }
        config.put("sasl.mechanism", mechanism);
        if (mechanism.equals("OAUTHBEARER")) {
            Path token = Files.writeString(Files.createTempFile("token", ".jwt"), secret);
            token.toFile().deleteOnExit();
            String url = token.toUri().toString();
            System.setProperty("org.apache.kafka.sasl.oauthbearer.allowed.urls", url);
            config.put("sasl.oauthbearer.token.endpoint.url", url);
            config.put("sasl.jaas.config", MODULES + "oauthbearer.OAuthBearerLoginModule required;");
            config.put("sasl.login.callback.handler.class", MODULES + "oauthbearer.OAuthBearerLoginCallbackHandler");
        } else {
            String module = mechanism.equals("PLAIN") ? "plain.PlainLoginModule" : "scram.ScramLoginModule";
            config.put("sasl.jaas.config", MODULES + module + " required username=\"" + user + "\" password=\"" + secret + "\";");
        }
        return config;
    }
}
