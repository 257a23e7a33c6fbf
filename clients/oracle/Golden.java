// Reference bytes of every message and version, written by Kafka's own classes.
//
//   java -cp "$(./kafka classpath server)" Golden.java SCHEMA_DIR OUT.jsonl.gz
//
// For each schema and stable version it builds a few JSON trees, lets Kafka's `<Name>JsonConverter` read them, and prints
// one line per case: {message, version, variant, tree, bytes}. `tree` is what Kafka's converter writes back, but for
// `records` fields, which it prints empty: those get their bytes back, in base64 as every other bytes field.
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.File;
import java.io.FileOutputStream;
import java.io.OutputStreamWriter;
import java.io.Writer;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.jar.JarFile;
import java.util.zip.GZIPOutputStream;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;

public class Golden {
    static final ObjectMapper JSON = new ObjectMapper().enable(JsonParser.Feature.ALLOW_COMMENTS);
    static final JsonNodeFactory NODES = JsonNodeFactory.instance;

    /** What a case puts into fields: DEFAULTS leaves arrays empty, ELEMENTS gives each one element of defaults. */
    enum Variant { DEFAULTS, ELEMENTS, ALL, NULLS, EMPTY }

    record Range(int min, int max) {
        static Range of(JsonNode node) {
            if (node == null || node.asText().equals("none")) return new Range(1, 0);
            String text = node.asText();
            if (text.endsWith("+")) return new Range(Integer.parseInt(text.substring(0, text.length() - 1)), Short.MAX_VALUE);
            String[] ends = text.split("-");
            return new Range(Integer.parseInt(ends[0]), Integer.parseInt(ends[ends.length - 1]));
        }

        boolean has(int version) {
            return version >= min && version <= max;
        }
    }

    /** Builds the tree of one case. */
    static class Builder {
        final Map<String, JsonNode> common = new HashMap<>();
        final int version;
        final Variant variant;
        long counter = 0;

        Builder(JsonNode schema, int version, Variant variant) {
            this.version = version;
            this.variant = variant;
            for (JsonNode struct : schema.path("commonStructs")) common.put(struct.get("name").asText(), struct.get("fields"));
        }

        JsonNode fieldsOf(JsonNode field, String type) {
            return field.has("fields") ? field.get("fields") : common.get(type);
        }

        ObjectNode struct(JsonNode fields) {
            ObjectNode out = NODES.objectNode();
            for (JsonNode field : fields) {
                if (versions(field).has(version)) out.set(key(field), value(field));
            }
            return out;
        }

        JsonNode value(JsonNode field) {
            String type = field.get("type").asText();
            boolean nullable = Range.of(field.get("nullableVersions")).has(version);
            boolean defaults = variant == Variant.DEFAULTS || variant == Variant.ELEMENTS;
            if (nullable && variant == Variant.NULLS) return NODES.nullNode();
            if (defaults && nullable && isNullDefault(field)) return NODES.nullNode();
            if (type.startsWith("[]")) return array(field, type.substring(2));
            JsonNode fields = fieldsOf(field, type);
            if (fields != null) return struct(fields);
            return defaults ? defaultOf(field, type) : distinct(type);
        }

        JsonNode array(JsonNode field, String element) {
            int length = switch (variant) {
                case DEFAULTS, EMPTY -> 0;
                case ELEMENTS -> 1;
                case ALL, NULLS -> 2;
            };
            ArrayNode out = NODES.arrayNode();
            JsonNode fields = fieldsOf(field, element);
            for (int i = 0; i < length; i++) out.add(fields != null ? struct(fields) : distinct(element));
            return out;
        }

        JsonNode defaultOf(JsonNode field, String type) {
            String text = field.has("default") && !isNullDefault(field) ? field.get("default").asText() : "";
            return switch (type) {
                case "bool" -> NODES.booleanNode(text.equals("true"));
                case "int8", "int16", "uint16", "int32" -> NODES.numberNode(text.isEmpty() ? 0 : (int) (long) Long.decode(text));
                case "uint32", "int64" -> NODES.numberNode(text.isEmpty() ? 0L : (long) Long.decode(text));
                case "float64" -> NODES.numberNode(text.isEmpty() ? 0.0 : Double.parseDouble(text));
                case "string" -> NODES.textNode(text);
                case "uuid" -> NODES.textNode(Uuid.ZERO_UUID.toString());
                case "bytes", "records" -> NODES.textNode("");
                default -> throw new IllegalArgumentException("type " + type);
            };
        }

        /** A value that no other field of this case has, wide enough to show a wrong width or sign. */
        JsonNode distinct(String type) {
            long n = ++counter;
            boolean negative = n % 3 == 0;
            return switch (type) {
                case "bool" -> NODES.booleanNode(true);
                case "int8" -> NODES.numberNode((int) (negative ? -(n % 120) - 2 : n % 120 + 2));
                case "int16" -> NODES.numberNode((int) (negative ? -1000 - n : 1000 + n));
                case "uint16" -> NODES.numberNode((int) (40000 + n));
                case "int32" -> NODES.numberNode((int) (negative ? -1_000_000_000 - n : 1_000_000_000 + n));
                case "uint32" -> NODES.numberNode(3_000_000_000L + n);
                case "int64" -> NODES.numberNode(negative ? -(1L << 60) - n : (1L << 60) + n);
                case "float64" -> NODES.numberNode(negative ? -n - 0.25 : n + 0.5);
                // 150 bytes and more need a second byte of length in the flexible versions.
                case "string" -> NODES.textNode((n % 7 == 0 ? "long ".repeat(30) : "é ") + n);
                case "uuid" -> NODES.textNode(new Uuid(0x0123456789abcdefL, 0xfedcba9876540000L + n).toString());
                case "bytes", "records" -> NODES.textNode(Base64.getEncoder().encodeToString(new byte[] {(byte) n, (byte) (n >> 8), -1, 0, 127}));
                default -> throw new IllegalArgumentException("type " + type);
            };
        }

        /** Puts the bytes of `records` fields, which Kafka's converter prints empty, back into its tree. */
        void restoreRecords(JsonNode fields, JsonNode given, JsonNode written) {
            if (!(written instanceof ObjectNode object)) return;
            for (JsonNode field : fields) {
                String type = field.get("type").asText();
                if (!versions(field).has(version) || !object.has(key(field))) continue;
                JsonNode from = given.path(key(field));
                if (type.equals("records")) {
                    object.set(key(field), from);
                } else if (type.startsWith("[]") && fieldsOf(field, type.substring(2)) != null) {
                    for (int i = 0; i < from.size(); i++) {
                        restoreRecords(fieldsOf(field, type.substring(2)), from.get(i), object.get(key(field)).path(i));
                    }
                } else if (fieldsOf(field, type) != null) {
                    restoreRecords(fieldsOf(field, type), from, object.get(key(field)));
                }
            }
        }
    }

    static boolean isNullDefault(JsonNode field) {
        return field.has("default") && field.get("default").asText().equals("null");
    }

    static Range versions(JsonNode field) {
        return Range.of(field.has("versions") ? field.get("versions") : field.get("taggedVersions"));
    }

    static String key(JsonNode field) {
        String name = field.get("name").asText();
        return Character.toLowerCase(name.charAt(0)) + name.substring(1);
    }

    /** Simple names of all JSON converters on the class path. */
    static Map<String, String> converters() throws Exception {
        Map<String, String> out = new HashMap<>();
        for (String path : System.getProperty("java.class.path").split(File.pathSeparator)) {
            if (!path.endsWith(".jar") || !new File(path).getName().startsWith("kafka")) continue;
            try (JarFile jar = new JarFile(path)) {
                jar.stream().map(entry -> entry.getName()).filter(name -> name.endsWith("JsonConverter.class")).forEach(name -> {
                    String type = name.substring(0, name.length() - ".class".length()).replace('/', '.');
                    out.put(type.substring(type.lastIndexOf('.') + 1), type);
                });
            }
        }
        return out;
    }

    static Method method(Class<?> type, String name, int parameters) {
        for (Method method : type.getMethods()) {
            if (method.getName().equals(name) && method.getParameterCount() == parameters) return method;
        }
        throw new IllegalStateException(type + " has no " + name);
    }

    public static void main(String[] args) throws Exception {
        Map<String, JsonNode> schemas = new TreeMap<>();
        List<Path> files;
        try (var walk = Files.walk(Path.of(args[0]))) {
            files = new ArrayList<>(walk.filter(path -> path.toString().endsWith(".json")).toList());
        }
        for (Path file : files) {
            JsonNode schema = JSON.readTree(file.toFile());
            schemas.put(schema.get("name").asText(), schema);
        }
        Map<String, String> converters = converters();
        int cases = 0;
        try (Writer out = new OutputStreamWriter(new GZIPOutputStream(new FileOutputStream(args[1])) {{ def.setLevel(9); }}, StandardCharsets.UTF_8)) {
            for (var entry : schemas.entrySet()) cases += write(entry.getKey(), entry.getValue(), converters, out);
        }
        System.out.println(cases + " cases of " + schemas.size() + " schemas");
    }

    static int write(String name, JsonNode schema, Map<String, String> converters, Writer out) throws Exception {
        Range valid = Range.of(schema.get("validVersions"));
        int last = schema.path("latestVersionUnstable").asBoolean() ? valid.max - 1 : valid.max;
        String type = converters.getOrDefault(name + "DataJsonConverter", converters.get(name + "JsonConverter"));
        if (type == null) throw new IllegalStateException("no converter for " + name);
        Class<?> converter = Class.forName(type);
        Method read = method(converter, "read", 2);
        Method write = method(converter, "write", 2);
        int cases = 0;
        for (int version = valid.min; version <= last; version++) {
            Set<String> seen = new HashSet<>();
            for (Variant variant : Variant.values()) {
                Builder builder = new Builder(schema, version, variant);
                ObjectNode tree = builder.struct(schema.get("fields"));
                Message message;
                JsonNode written;
                byte[] bytes;
                try {
                    message = (Message) read.invoke(null, tree, (short) version);
                    written = (JsonNode) write.invoke(null, message, (short) version);
                    var buffer = MessageUtil.toByteBufferAccessor(message, (short) version).buffer();
                    bytes = new byte[buffer.remaining()];
                    buffer.get(bytes);
                } catch (Exception e) {
                    throw new IllegalStateException(name + " v" + version + " " + variant + ": " + tree, e);
                }
                builder.restoreRecords(schema.get("fields"), tree, written);
                String base64 = Base64.getEncoder().encodeToString(bytes);
                if (!seen.add(base64)) continue;
                ObjectNode line = NODES.objectNode();
                line.put("message", name).put("version", version).put("variant", variant.name().toLowerCase());
                line.set("tree", written);
                line.put("bytes", base64);
                out.write(JSON.writeValueAsString(line));
                out.write('\n');
                cases++;
            }
        }
        return cases;
    }
}
