import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.TableResult;
import org.apache.flink.types.Row;
import org.apache.flink.util.CloseableIterator;

/**
 * Runs the SQL files of this folder in a Flink of its own, as a batch job over what the topic holds. README.md says how to
 * start it, and how the SQL client of a Flink cluster takes the same files.
 */
public class Run {
    public static void main(String[] args) throws Exception {
        Path folder = Path.of(args[0]);
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
        TableEnvironment flink = TableEnvironment.create(EnvironmentSettings.inBatchMode());
        flink.getConfig().set("table.local-time-zone", "UTC");
        flink.getConfig().set("parallelism.default", "1");
        String tables = Files.readString(folder.resolve("events.sql")).replace("{brokers}", args[1]).replace("{topic}", args[2]);
        for (String statement : tables.split(";\n")) {
            if (!statement.isBlank()) {
                flink.executeSql(statement);
            }
        }
        for (String name : List.of("1_failure_rate.sql", "2_sms_latency.sql", "3_unresolved.sql")) {
            String query = Files.readString(folder.resolve(name));
            out.println(query.lines().findFirst().get().replaceFirst("--", "=="));
            TableResult result = flink.executeSql(query.replaceFirst(";\\s*$", ""));
            out.println(String.join("  ", result.getResolvedSchema().getColumnNames()));
            try (CloseableIterator<Row> rows = result.collect()) {
                rows.forEachRemaining(row -> {
                    StringBuilder line = new StringBuilder();
                    for (int i = 0; i < row.getArity(); i++) {
                        line.append(i == 0 ? "" : "  ").append(row.getField(i));
                    }
                    out.println(line);
                });
            }
        }
    }
}
