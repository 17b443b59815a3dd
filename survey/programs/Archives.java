// java Archives.java zipfile|stream|commons|zip4j write ARCHIVE FOLDER | read ARCHIVE FOLDER
import java.io.*;
import java.nio.file.*;
import java.util.*;
import java.util.zip.*;
import org.apache.commons.compress.archivers.zip.ZipArchiveEntry;
import org.apache.commons.compress.archivers.zip.ZipArchiveOutputStream;

class Archives {
    static final List<String> NAMES = List.of("x.npy", "y.npy", "deep/z.npy");

    public static void main(String[] arguments) throws Exception {
        Path archive = Path.of(arguments[2]);
        Path folder = Path.of(arguments[3]);
        switch (arguments[0] + " " + arguments[1]) {
            case "stream write" -> writeStream(archive, folder);
            case "stream read" -> readStream(archive, folder);
            case "zipfile read" -> readFile(archive, folder);
            case "commons write" -> writeCommons(archive, folder);
            case "commons read" -> readCommons(archive, folder);
            case "zip4j write" -> {
                var zip = new net.lingala.zip4j.ZipFile(archive.toFile());
                for (String name : NAMES) {
                    var parameters = new net.lingala.zip4j.model.ZipParameters();
                    parameters.setFileNameInZip(name);
                    zip.addFile(folder.resolve(name).toFile(), parameters);
                }
            }
            case "zip4j read" -> new net.lingala.zip4j.ZipFile(archive.toFile()).extractAll(folder.toString());
            default -> throw new IllegalArgumentException();
        }
    }

    static void writeStream(Path archive, Path folder) throws IOException {
        try (var zip = new ZipOutputStream(Files.newOutputStream(archive))) {
            for (String name : NAMES) {
                zip.putNextEntry(new ZipEntry(name));
                Files.copy(folder.resolve(name), zip);
            }
        }
    }

    static void readStream(Path archive, Path folder) throws IOException {
        try (var zip = new ZipInputStream(Files.newInputStream(archive))) {
            for (ZipEntry entry = zip.getNextEntry(); entry != null; entry = zip.getNextEntry()) {
                save(folder, entry.getName(), zip);
            }
        }
    }

    static void readFile(Path archive, Path folder) throws IOException {
        try (var zip = new ZipFile(archive.toFile())) {
            for (ZipEntry entry : Collections.list(zip.entries())) {
                save(folder, entry.getName(), zip.getInputStream(entry));
            }
        }
    }

    static void writeCommons(Path archive, Path folder) throws IOException {
        try (var zip = new ZipArchiveOutputStream(archive.toFile())) {
            for (String name : NAMES) {
                zip.putArchiveEntry(new ZipArchiveEntry(name));
                Files.copy(folder.resolve(name), zip);
                zip.closeArchiveEntry();
            }
        }
    }

    static void readCommons(Path archive, Path folder) throws IOException {
        try (var zip = new org.apache.commons.compress.archivers.zip.ZipFile(archive.toFile())) {
            for (ZipArchiveEntry entry : Collections.list(zip.getEntries())) {
                save(folder, entry.getName(), zip.getInputStream(entry));
            }
        }
    }

    static void save(Path folder, String name, InputStream data) throws IOException {
        Path file = folder.resolve(name);
        Files.createDirectories(file.getParent());
        Files.copy(data, file, StandardCopyOption.REPLACE_EXISTING);
    }
}
