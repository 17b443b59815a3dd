// archives write ARCHIVE FOLDER | read ARCHIVE FOLDER
package main

import (
	"archive/zip"
	"io"
	"os"
	"path/filepath"
)

var names = []string{"x.npy", "y.npy", "deep/z.npy"}

func main() {
	archive, folder := os.Args[2], os.Args[3]
	if os.Args[1] == "write" {
		write(archive, folder)
	} else {
		read(archive, folder)
	}
}

func write(archive, folder string) {
	file, err := os.Create(archive)
	check(err)
	out := zip.NewWriter(file)
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(folder, name))
		check(err)
		member, err := out.Create(name)
		check(err)
		_, err = member.Write(data)
		check(err)
	}
	check(out.Close())
	check(file.Close())
}

func read(archive, folder string) {
	in, err := zip.OpenReader(archive)
	check(err)
	for _, member := range in.File {
		path := filepath.Join(folder, member.Name)
		check(os.MkdirAll(filepath.Dir(path), 0o755))
		source, err := member.Open()
		check(err)
		target, err := os.Create(path)
		check(err)
		_, err = io.Copy(target, source)
		check(err)
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
