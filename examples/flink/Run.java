import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.TableResult;
import org.apache.flink.types.Row;
import org.apache.flink.util.CloseableIterator;

/**
 * Runs the SQL files of this folder in a Flink of its own, in batch or streaming mode, over what the topic holds. README.md
 * says how to start it, and how the SQL client of a Flink cluster takes the same files.
 */
public class Run {
    public static void main(String[] args) throws Exception {
        Path folder = Path.of(args[0]);
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
        boolean streaming = args[3].equals("streaming");
        TableEnvironment flink = TableEnvironment.create(streaming ? EnvironmentSettings.inStreamingMode() : EnvironmentSettings.inBatchMode());
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
            List<String> lines = lines(result);
            if (streaming) { // the changes say what the answer holds, and not in which order
                Collections.sort(lines);
            }
            lines.forEach(out::println);
        }
    }

    /** Reads an answer to its end. In streaming mode it comes as changes: a row is taken back when another one takes its place. */
    static List<String> lines(TableResult result) throws Exception {
        List<String> lines = new ArrayList<>();
        try (CloseableIterator<Row> rows = result.collect()) {
            while (rows.hasNext()) {
                Row row = rows.next();
                List<String> cells = new ArrayList<>();
                for (int i = 0; i < row.getArity(); i++) {
                    cells.add(String.valueOf(row.getField(i)));
                }
                String line = String.join("  ", cells);
                switch (row.getKind()) {
                    case INSERT, UPDATE_AFTER -> lines.add(line);
                    case UPDATE_BEFORE, DELETE -> lines.remove(line);
                }
            }
        }
        return lines;
    }
}
