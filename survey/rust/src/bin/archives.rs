//! archives LIBRARY write ARCHIVE FOLDER | read ARCHIVE FOLDER
use std::error::Error;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use futures_lite::{AsyncReadExt, AsyncWriteExt, future::block_on};

const NAMES: [&str; 3] = ["x.npy", "y.npy", "deep/z.npy"];

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, library, action, archive, folder] = arguments.as_slice() else {
        return Err("usage: archives LIBRARY write|read ARCHIVE FOLDER".into());
    };
    let (archive, folder) = (Path::new(archive), Path::new(folder));
    match (library.as_str(), action.as_str()) {
        ("zip", "write") => zip_write(archive, folder),
        ("zip", "read") => zip_read(archive, folder),
        ("async_zip", "write") => block_on(async_write(archive, folder, false)),
        ("async_zip-stream", "write") => block_on(async_write(archive, folder, true)),
        ("async_zip", "read") => block_on(async_read(archive, folder)),
        ("rawzip", "write") => rawzip_write(archive, folder),
        ("rawzip", "read") => rawzip_read(archive, folder),
        ("s-zip", "write") => s_zip_write(archive, folder),
        ("s-zip", "read") => Ok(s_zip::StreamingZipReader::open(archive)?.extract_all(folder)?),
        ("rc-zip", "read") => rc_zip_read(archive, folder),
        ("piz", "read") => piz_read(archive, folder),
        _ => Err("no such library".into()),
    }
}

fn save(folder: &Path, name: &str, data: &[u8]) -> Outcome {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap())?;
    Ok(fs::write(path, data)?)
}

fn zip_write(archive: &Path, folder: &Path) -> Outcome {
    let mut zip = zip::ZipWriter::new(File::create(archive)?);
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for name in NAMES {
        zip.start_file(name, options)?;
        zip.write_all(&fs::read(folder.join(name))?)?;
    }
    zip.finish()?;
    Ok(())
}

fn zip_read(archive: &Path, folder: &Path) -> Outcome {
    let mut zip = zip::ZipArchive::new(File::open(archive)?)?;
    for index in 0..zip.len() {
        let mut member = zip.by_index(index)?;
        let mut data = Vec::new();
        member.read_to_end(&mut data)?;
        save(folder, &member.name()?, &data)?;
    }
    Ok(())
}

async fn async_write(archive: &Path, folder: &Path, streamed: bool) -> Outcome {
    let mut zip = async_zip::base::write::ZipFileWriter::new(Vec::new());
    for name in NAMES {
        let entry = async_zip::ZipEntryBuilder::new(name.into(), async_zip::Compression::Stored);
        let data = fs::read(folder.join(name))?;
        if streamed {
            let mut member = zip.write_entry_stream(entry).await?;
            member.write_all(&data).await?;
            member.close().await?;
        } else {
            zip.write_entry_whole(entry, &data).await?;
        }
    }
    Ok(fs::write(archive, zip.close().await?)?)
}

async fn async_read(archive: &Path, folder: &Path) -> Outcome {
    let zip = async_zip::base::read::mem::ZipFileReader::new(fs::read(archive)?).await?;
    for index in 0..zip.file().entries().len() {
        let mut member = zip.reader_with_entry(index).await?;
        let name = member.entry().filename().as_str()?.to_owned();
        let mut data = Vec::new();
        member.read_to_end(&mut data).await?;
        save(folder, &name, &data)?;
    }
    Ok(())
}

fn rawzip_write(archive: &Path, folder: &Path) -> Outcome {
    let mut zip = rawzip::ZipArchiveWriter::new(File::create(archive)?);
    for name in NAMES {
        let (mut member, config) = zip.new_file(name).start()?;
        let mut writer = config.wrap(&mut member);
        writer.write_all(&fs::read(folder.join(name))?)?;
        let (_, descriptor) = writer.finish()?;
        member.finish(descriptor)?;
    }
    zip.finish()?;
    Ok(())
}

fn rawzip_read(archive: &Path, folder: &Path) -> Outcome {
    let bytes = fs::read(archive)?;
    let zip = rawzip::ZipArchive::from_slice(&bytes)?;
    for entry in zip.entries() {
        let entry = entry?;
        let member = zip.get_entry(entry.wayfinder())?;
        let mut data = Vec::new();
        match entry.compression_method() {
            rawzip::CompressionMethod::STORE => {
                member
                    .verifying_reader(member.data())
                    .read_to_end(&mut data)?;
            }
            _ => {
                let inflated = flate2::read::DeflateDecoder::new(member.data());
                member.verifying_reader(inflated).read_to_end(&mut data)?;
            }
        }
        save(folder, entry.file_path().try_normalize()?.as_ref(), &data)?;
    }
    Ok(())
}

fn s_zip_write(archive: &Path, folder: &Path) -> Outcome {
    let mut zip = s_zip::StreamingZipWriter::new(archive)?;
    for name in NAMES {
        zip.start_entry(name)?;
        zip.write_data(&fs::read(folder.join(name))?)?;
    }
    zip.finish()?;
    Ok(())
}

fn rc_zip_read(archive: &Path, folder: &Path) -> Outcome {
    use rc_zip_sync::ReadZip;
    let file = File::open(archive)?;
    let zip = file.read_zip()?;
    for entry in zip.entries() {
        save(folder, &entry.name, &entry.bytes()?)?;
    }
    Ok(())
}

fn piz_read(archive: &Path, folder: &Path) -> Outcome {
    let bytes = fs::read(archive)?;
    let zip = piz::ZipArchive::new(&bytes)?;
    for entry in zip.entries() {
        let mut data = Vec::new();
        zip.read(entry)?.read_to_end(&mut data)?;
        save(folder, entry.path.as_str(), &data)?;
    }
    Ok(())
}
