"""The programs and libraries of the survey, and how each is called.

A command is run by the shell in the folder of the sources, with $ARCHIVE to write or to read, $FOLDER to read the
sources from or to extract to (also the working directory, when reading), $PROGRAMS (survey/programs) and $BUILT.
"""

from dataclasses import dataclass

FILES = "x.npy y.npy deep/z.npy"
JAVA = "java -cp $BUILT/java:/usr/share/java/commons-compress.jar:/usr/share/java/zip4j.jar Archives"
RUST = "$BUILT/rust/debug"


@dataclass
class Tool:
    name: str
    version: str
    write: str = ""
    read: str = ""


def debian(package):
    """Prints the version of a package without what Debian adds: 2:1.2+really3.4+dfsg-5 is 3.4."""
    return f"dpkg-query -Wf '${{source:Upstream-Version}}' {package} | sed 's/.*+really//; s/[+~.]*dfsg.*//'"


def python(package, venv="python"):
    return f"$BUILT/{venv}/bin/python -c 'import importlib.metadata as m; print(m.version(\"{package}\"))'"


def node(package):
    return f"node -p 'require(process.env.BUILT + \"/node_modules/{package}/package.json\").version'"


def crate(name):
    return f"sed -n '/^name = \"{name}\"/{{n;s/.*\"\\(.*\\)\"/\\1/p}}' $PROGRAMS/../rust/Cargo.lock | tail -1"


def of_python(name, package=None, library=None, **actions):
    library = library or name
    commands = {action: f"$BUILT/python/bin/python $PROGRAMS/archives.py {library} {action} $ARCHIVE $FOLDER"
                for action in actions}
    return Tool(f"{name} (PyPI)", python(package or library), **commands)


def of_node(name, **actions):
    commands = {action: f"node $BUILT/archives.mjs '{name}' {action} $ARCHIVE $FOLDER" for action in actions}
    return Tool(f"{name} (npm)", node(name.split(",")[0]), **commands)


def of_rust(name, library=None, **actions):
    commands = {action: f"{RUST}/archives {library or name} {action} $ARCHIVE $FOLDER" for action in actions}
    return Tool(f"{name} (Rust)", crate(name.split(",")[0]), **commands)


BOTH = {"write": True, "read": True}
WRITE = {"write": True}
READ = {"read": True}

# What is given arrays, and makes a .npz of them.
ARRAY_WRITERS = [
    *(Tool(f"NumPy {what}", python("numpy", venv), f"$BUILT/{venv}/bin/python $PROGRAMS/arrays.py {library} write $ARCHIVE")
      for venv, library, what in (
          ("numpy-1.23", "numpy", "`savez`"),
          ("numpy-1.26", "numpy", "`savez`"),
          ("python", "numpy", "`savez`"),
          ("python", "numpy-compressed", "`savez_compressed`"),
          ("python", "numpy-pipe", "`savez` to a pipe"),
      )),
    *(Tool(name, python(library), f"$BUILT/python/bin/python $PROGRAMS/arrays.py {library} write $ARCHIVE")
      for name, library in (
          ("SciPy `sparse.save_npz`", "scipy"),
          ("PyData `sparse.save_npz`", "sparse"),
          ("StaticFrame `to_npz`", "static-frame"),
          ("JAX `savez`", "jax"),
          ("MLX `savez`", "mlx"),
          ("mmnpz", "mmnpz"),
          ("webdataset", "webdataset"),
          ("imageio", "imageio"),
      )),
    *(Tool(f"{name} (Rust)", crate(name), f"{RUST}/arrays {name} write $ARCHIVE")
      for name in ("ndarray-npy", "npyz", "candle-core")),
    Tool("npyjs, packed by fflate (JavaScript)", node("npyjs"), "node $BUILT/arrays.mjs npyjs write $ARCHIVE"),
]

# What is given files.
ARCHIVERS = [
    Tool("Info-ZIP unzip", debian("unzip"), read="unzip -q $ARCHIVE"),
    Tool("Info-ZIP zip", debian("zip"), f"zip -q $ARCHIVE {FILES}"),
    Tool("Info-ZIP zip `-0`", debian("zip"), f"zip -q -0 $ARCHIVE {FILES}"),
    Tool("Info-ZIP zip, to a pipe", debian("zip"), f"zip -q - {FILES} | cat > $ARCHIVE"),
    Tool("Info-ZIP zip `-r .`", debian("zip"), "zip -q -r $ARCHIVE ."),
    Tool("7-Zip", debian("7zip"), f"7zz a -bd -tzip $ARCHIVE.zip {FILES} && mv $ARCHIVE.zip $ARCHIVE", "7zz x -bd $ARCHIVE"),
    Tool("7-Zip `-mx0`", debian("7zip"), f"7zz a -bd -tzip -mx0 $ARCHIVE.zip {FILES} && mv $ARCHIVE.zip $ARCHIVE"),
    Tool("bsdtar (libarchive)", debian("libarchive-tools"), f"bsdtar -c --format zip -f $ARCHIVE {FILES}", "bsdtar -xf $ARCHIVE"),
    Tool("bsdtar, stored", debian("libarchive-tools"),
         f"bsdtar -c --format zip --options zip:compression=store -f $ARCHIVE {FILES}"),
    Tool("bsdtar, to a pipe", debian("libarchive-tools"), f"bsdtar -c --format zip -f - {FILES} | cat > $ARCHIVE"),
    Tool("bsdtar, from a pipe", debian("libarchive-tools"), read="cat $ARCHIVE | bsdtar -xf -"),
    Tool("minizip", debian("minizip"), f"minizip -0 $ARCHIVE.zip {FILES} && mv $ARCHIVE.zip $ARCHIVE", "miniunzip $ARCHIVE"),
    Tool("ziptool (libzip)", debian("ziptool"),
         f"POSIXLY_CORRECT=1 ziptool -n $ARCHIVE {' '.join(f'add_file {name} {name} 0 -1' for name in FILES.split())}"),
    Tool("zipmerge (libzip)", debian("zipmerge"),
         "zip -q -0 one.zip x.npy && zip -q -0 two.zip y.npy deep/z.npy && zipmerge $ARCHIVE one.zip two.zip"),
    Tool("advzip `-z`", debian("advancecomp"), f"zip -q -0 $ARCHIVE {FILES} && advzip -q -z $ARCHIVE"),
    Tool("zipalign 64", debian("zipalign"), f"zip -q -0 one.zip {FILES} && zipalign 64 one.zip $ARCHIVE"),
    Tool("pigz `-K`", debian("pigz"), "cp x.npy one.npy && pigz -K one.npy && mv one.npy.zip $ARCHIVE"),
    Tool("CMake `-E tar`", debian("cmake"), f"cmake -E tar cf $ARCHIVE --format=zip {FILES}", "cmake -E tar xf $ARCHIVE"),
    Tool("git archive", debian("git"),
         f"git init -q . && git add {FILES} && git -c user.name=- -c user.email=- commit -qm . && "
         "git archive --format zip -o $ARCHIVE HEAD"),
    Tool("git archive `-0`", debian("git"),
         f"git init -q . && git add {FILES} && git -c user.name=- -c user.email=- commit -qm . && "
         "git archive --format zip -0 -o $ARCHIVE HEAD"),
    Tool("Mercurial `archive`", debian("mercurial"),
         f"hg init -q && hg add -q {FILES} && hg commit -q -u - -m . && hg archive --config ui.archivemeta=no -p . -t zip $ARCHIVE"),
    Tool("SQLite `-A`", debian("sqlite3"), f"sqlite3 -A -cf $ARCHIVE.zip {FILES} && mv $ARCHIVE.zip $ARCHIVE",
         "sqlite3 -A -xf $ARCHIVE"),
    Tool("BusyBox", debian("busybox"), read="busybox unzip -q $ARCHIVE"),
    Tool("fuse-zip", debian("fuse-zip"), read="$PROGRAMS/mounted.sh fuse-zip"),
    Tool("archivemount", debian("archivemount"), read="$PROGRAMS/mounted.sh archivemount"),
    Tool("ratarmount (PyPI)", python("ratarmount"), read="$PROGRAMS/mounted.sh $BUILT/python/bin/ratarmount"),
    Tool("Python `zipfile`", "python3 -c 'import platform; print(platform.python_version())'",
         "$BUILT/python/bin/python $PROGRAMS/archives.py zipfile write $ARCHIVE $FOLDER",
         "$BUILT/python/bin/python $PROGRAMS/archives.py zipfile read $ARCHIVE $FOLDER"),
    Tool("Python `shutil`", "python3 -c 'import platform; print(platform.python_version())'",
         "$BUILT/python/bin/python $PROGRAMS/archives.py shutil write $ARCHIVE.zip $FOLDER && mv $ARCHIVE.zip $ARCHIVE"),
    of_python("pyzipper", **WRITE),
    of_python("repro-zipfile", **WRITE),
    of_python("stream-zip", **WRITE),
    of_python("zipstream-ng", **WRITE),
    of_python("fsspec", **READ),
    of_python("stream-unzip", **READ),
    Tool("Java `ZipOutputStream`", debian("openjdk-17-jdk-headless"), f"{JAVA} stream write $ARCHIVE $FOLDER"),
    Tool("Java `ZipInputStream`", debian("openjdk-17-jdk-headless"), read=f"{JAVA} stream read $ARCHIVE $FOLDER"),
    Tool("Java `ZipFile`", debian("openjdk-17-jdk-headless"), read=f"{JAVA} zipfile read $ARCHIVE $FOLDER"),
    Tool("jar", debian("openjdk-17-jdk-headless"), f"jar cf0M $ARCHIVE {FILES}", "jar xf $ARCHIVE"),
    Tool("Commons Compress (Java)", debian("libcommons-compress-java"),
         f"{JAVA} commons write $ARCHIVE $FOLDER", f"{JAVA} commons read $ARCHIVE $FOLDER"),
    Tool("Zip4j (Java)", debian("libzip4j-java"),
         f"{JAVA} zip4j write $ARCHIVE $FOLDER", f"{JAVA} zip4j read $ARCHIVE $FOLDER"),
    Tool("Go `archive/zip`", debian("golang-1.19-go"),
         "$BUILT/go-archives write $ARCHIVE $FOLDER", "$BUILT/go-archives read $ARCHIVE $FOLDER"),
    Tool("Mono `System.IO.Compression`", debian("mono-runtime"),
         "mono $BUILT/archives.exe system write $ARCHIVE $FOLDER", "mono $BUILT/archives.exe system read $ARCHIVE $FOLDER"),
    Tool("Mono SharpZipLib", debian("libmono-sharpzip4.84-cil"),
         "mono $BUILT/archives.exe sharpzip write $ARCHIVE $FOLDER",
         "mono $BUILT/archives.exe sharpzip read $ARCHIVE $FOLDER"),
    Tool("rubyzip", debian("ruby-zip"), "ruby $PROGRAMS/archives.rb write $ARCHIVE $FOLDER",
         "ruby $PROGRAMS/archives.rb read $ARCHIVE $FOLDER"),
    Tool("rubyzip, streamed", debian("ruby-zip"), "ruby $PROGRAMS/archives.rb stream $ARCHIVE $FOLDER"),
    Tool("PHP `ZipArchive`", debian("php8.2-zip"), "php $PROGRAMS/archives.php write $ARCHIVE $FOLDER",
         "php $PROGRAMS/archives.php read $ARCHIVE $FOLDER"),
    Tool("Perl `Archive::Zip`", debian("libarchive-zip-perl"), "perl $PROGRAMS/archives.pl archive write $ARCHIVE $FOLDER",
         "perl $PROGRAMS/archives.pl archive read $ARCHIVE $FOLDER"),
    Tool("Perl `IO::Compress::Zip`", debian("perl"), "perl $PROGRAMS/archives.pl io write $ARCHIVE $FOLDER"),
    Tool("Perl `IO::Uncompress::Unzip`", debian("perl"), read="perl $PROGRAMS/archives.pl io read $ARCHIVE $FOLDER"),
    Tool("Erlang `zip`", debian("erlang-base"),
         "erl -noshell -pa $BUILT -run archives main write $ARCHIVE $FOLDER",
         "erl -noshell -pa $BUILT -run archives main read $ARCHIVE $FOLDER"),
    Tool("Tcl `zipfile` (tcllib)", debian("tcllib"), read="tclsh $PROGRAMS/archives.tcl read $ARCHIVE $FOLDER"),
    Tool("POCO (C++)", debian("libpoco-dev"), "$BUILT/poco write $ARCHIVE $FOLDER", "$BUILT/poco read $ARCHIVE $FOLDER"),
    Tool("R `unzip`", debian("r-base-core"), read="Rscript -e 'unzip(\"'$ARCHIVE'\")'"),
    Tool("R package zip", debian("r-cran-zip"),
         "Rscript -e 'zip::zip(\"'$ARCHIVE'\", c(\"x.npy\", \"y.npy\", \"deep/z.npy\"))'",
         "Rscript -e 'zip::unzip(\"'$ARCHIVE'\")'"),
    of_node("jszip", **BOTH),
    of_node("jszip, streamed", **WRITE),
    of_node("fflate", **BOTH),
    of_node("fflate, streamed", **BOTH),
    of_node("archiver", **WRITE),
    of_node("yazl", **WRITE),
    of_node("yauzl", **READ),
    of_node("adm-zip", **BOTH),
    of_node("@zip.js/zip.js", **BOTH),
    of_node("client-zip", **WRITE),
    of_node("do-not-zip", **WRITE),
    of_node("@endo/zip", **BOTH),
    of_node("uzip", **BOTH),
    of_node("pizzip", **BOTH),
    of_node("node-stream-zip", **READ),
    of_node("unzipper", **READ),
    of_node("unzipper, streamed", **READ),
    of_node("unzipit", **READ),
    of_rust("zip", **BOTH),
    of_rust("async_zip", **BOTH),
    of_rust("async_zip, streamed", "async_zip-stream", **WRITE),
    of_rust("rawzip", **BOTH),
    of_rust("s-zip", **BOTH),
    of_rust("rc-zip-sync", "rc-zip", **READ),
    of_rust("piz", **READ),
]

# What reads a .npy: the heading of its column, and the command that prints the array as JSON.
ARRAY_READERS = [
    *(Tool(name, python(package), read=f"$BUILT/python/bin/python $PROGRAMS/arrays.py {library} read $ARCHIVE")
      for name, package, library in (
          ("NumPy", "numpy", "numpy"),
          ("NumPy, mapped", "numpy", "numpy-mmap"),
          ("JAX", "jax", "jax"),
          ("MLX", "mlx", "mlx"),
      )),
    *(Tool(f"{name} (Rust)", crate(name), read=f"{RUST}/arrays {name} read $ARCHIVE")
      for name in ("ndarray-npy", "npyz", "candle-core")),
    Tool("xtensor (C++)", debian("xtensor-dev"), read="$BUILT/xtensor read $ARCHIVE"),
    *(Tool(f"{name} (npm)", node(name), read=f"node $BUILT/arrays.mjs {name} read $ARCHIVE")
      for name in ("npyjs", "npyz", "numpy-parser", "tfjs-npy", "@loaders.gl/textures")),
]
