import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.stream.Collectors;
import org.apache.kafka.common.Endpoint;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.server.authorizer.AclCreateResult;
import org.apache.kafka.server.authorizer.AclDeleteResult;
import org.apache.kafka.server.authorizer.Action;
import org.apache.kafka.server.authorizer.AuthorizableRequestContext;
import org.apache.kafka.server.authorizer.AuthorizationResult;
import org.apache.kafka.server.authorizer.Authorizer;
import org.apache.kafka.server.authorizer.AuthorizerServerInfo;

/**
 * Denies what the client id of a request says: "deny:READ TOPIC secret,* GROUP *". What such a request was checked for
 * is written to asked.log beside the data, one "READ TOPIC secret" a line. Everybody else may do everything.
 * Kafka also asks about the topic "" where a request names an id that no topic has; that is not noted.
 */
public class Denying implements Authorizer {
    private static final String PREFIX = "deny:";
    private static final String ANY = "*any*";
    private Path asked;

    @Override public void configure(Map<String, ?> configs) {
        asked = Path.of(configs.get("log.dirs").toString()).resolveSibling("asked.log");
    }

    @Override public Map<Endpoint, ? extends CompletionStage<Void>> start(AuthorizerServerInfo info) {
        return info.endpoints().stream().collect(Collectors.toMap(e -> e, e -> CompletableFuture.completedFuture(null)));
    }

    @Override public List<AuthorizationResult> authorize(AuthorizableRequestContext context, List<Action> actions) {
        return actions.stream().map(action -> check(context, action.operation(),
            action.resourcePattern().resourceType(), action.resourcePattern().name())).collect(Collectors.toList());
    }

    @Override public AuthorizationResult authorizeByResourceType(
            AuthorizableRequestContext context, AclOperation operation, ResourceType type) {
        return check(context, operation, type, ANY);
    }

    private synchronized AuthorizationResult check(
            AuthorizableRequestContext context, AclOperation operation, ResourceType type, String name) {
        String client = context.clientId();
        if (client == null || !client.startsWith(PREFIX)) return AuthorizationResult.ALLOWED;
        String what = operation + " " + type + " " + name;
        try {
            if (type != ResourceType.TOPIC || !name.isEmpty())
                Files.writeString(asked, what + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        for (String rule : client.substring(PREFIX.length()).split(",")) {
            String[] part = rule.split(" ", 3);
            if (part.length == 3 && fits(part[0], operation.toString()) && fits(part[1], type.toString()) && fits(part[2], name))
                return AuthorizationResult.DENIED;
        }
        return AuthorizationResult.ALLOWED;
    }

    private static boolean fits(String rule, String value) {
        return rule.equals("*") || rule.equals(value);
    }

    @Override public List<? extends CompletionStage<AclCreateResult>> createAcls(
            AuthorizableRequestContext context, List<AclBinding> bindings) {
        throw new UnsupportedOperationException();
    }

    @Override public List<? extends CompletionStage<AclDeleteResult>> deleteAcls(
            AuthorizableRequestContext context, List<AclBindingFilter> filters) {
        throw new UnsupportedOperationException();
    }

    @Override public Iterable<AclBinding> acls(AclBindingFilter filter) { return List.of(); }

    @Override public void close() { }
}
