// Archives.exe system|sharpzip write ARCHIVE FOLDER | read ARCHIVE FOLDER
using System.IO;
using System.IO.Compression;
using Sharp = ICSharpCode.SharpZipLib.Zip;

static class Archives
{
    static readonly string[] Names = { "x.npy", "y.npy", "deep/z.npy" };

    static void Main(string[] arguments)
    {
        string archive = arguments[2], folder = arguments[3];
        if (arguments[0] == "sharpzip") Sharpzip(arguments[1], archive, folder);
        else if (arguments[1] == "write")
        {
            using (var zip = ZipFile.Open(archive, ZipArchiveMode.Create))
                foreach (var name in Names) zip.CreateEntryFromFile(Path.Combine(folder, name), name);
        }
        else ZipFile.ExtractToDirectory(archive, folder);
    }

    static void Sharpzip(string action, string archive, string folder)
    {
        if (action == "read") { new Sharp.FastZip().ExtractZip(archive, folder, null); return; }
        using (var zip = new Sharp.ZipOutputStream(File.Create(archive)))
            foreach (var name in Names)
            {
                zip.PutNextEntry(new Sharp.ZipEntry(name));
                var data = File.ReadAllBytes(Path.Combine(folder, name));
                zip.Write(data, 0, data.Length);
            }
    }
}
