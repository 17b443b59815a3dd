// archives write ARCHIVE FOLDER | read ARCHIVE FOLDER, by POCO
#include <Poco/Path.h>
#include <Poco/Zip/Compress.h>
#include <Poco/Zip/Decompress.h>
#include <fstream>
#include <string>

int main(int, char **arguments) {
    const std::string action = arguments[1], folder = arguments[3];
    if (action == "write") {
        std::ofstream file(arguments[2], std::ios::binary);
        Poco::Zip::Compress zip(file, true);
        for (const std::string name : {"x.npy", "y.npy", "deep/z.npy"})
            zip.addFile(Poco::Path(folder + "/" + name), Poco::Path(name));
        zip.close();
    } else {
        std::ifstream file(arguments[2], std::ios::binary);
        Poco::Zip::Decompress zip(file, Poco::Path(folder));
        zip.decompressAllFiles();
    }
}
