#!/bin/sh
# Installs what the survey runs, the libraries at the versions that are pinned here, into the folder $1.
# Debian's packages are those of the release that it runs on; the tables state their versions.
set -eu

survey=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
built=$(cd "$1" && pwd)

packages="7zip advancecomp archivemount busybox cmake default-jdk-headless erlang-base fuse-zip git golang-go
    libarchive-tools libarchive-zip-perl libcommons-compress-java libmono-sharpzip4.84-cil
    libmono-system-io-compression-filesystem4.0-cil libmono-system-io-compression4.0-cil libpoco-dev libzip4j-java
    mercurial minizip mono-mcs nodejs php-cli php-zip pigz r-base-core r-cran-zip ruby ruby-zip sqlite3 tcllib unzip
    xtensor-dev zip zipalign zipmerge ziptool"
missing=
for package in $packages; do
    dpkg-query -Wf '${Status}' "$package" 2> /dev/null | grep -q ' installed$' || missing="$missing $package"
done
if [ -n "$missing" ]; then
    echo "survey: apt-get install$missing"
    # Several packages, so they are not quoted.
    # shellcheck disable=SC2086
    apt-get install -qq -y --no-install-recommends $missing
fi

for venv in python numpy-1.23 numpy-1.26; do
    [ -e "$built/$venv/done" ] && continue
    python3 -m venv --clear "$built/$venv"
    case $venv in
    python) set -- --requirement "$survey/requirements.txt" ;;
    numpy-1.23) set -- numpy==1.23.5 ;;
    numpy-1.26) set -- numpy==1.26.4 ;;
    esac
    "$built/$venv/bin/pip" install --quiet --disable-pip-version-check "$@"
    touch "$built/$venv/done"
done

cp "$survey/package.json" "$survey"/programs/*.mjs "$built"
(cd "$built" && npm install --no-audit --no-fund --silent)

cargo build --quiet --locked --manifest-path "$survey/rust/Cargo.toml" --target-dir "$built/rust"

jars=/usr/share/java/commons-compress.jar:/usr/share/java/zip4j.jar
javac -cp "$jars" -d "$built/java" "$survey/programs/Archives.java"
GOCACHE=$built/go-cache go build -o "$built/go-archives" "$survey/programs/archives.go"
g++ -o "$built/poco" "$survey/programs/archives.cpp" -lPocoZip -lPocoFoundation
g++ -std=c++17 -o "$built/xtensor" "$survey/programs/arrays.cpp"
mcs -nowarn:0618 -out:"$built/archives.exe" -r:System.IO.Compression.dll -r:System.IO.Compression.FileSystem.dll \
    -r:ICSharpCode.SharpZipLib.dll "$survey/programs/Archives.cs"
erlc -o "$built" "$survey/programs/archives.erl"
