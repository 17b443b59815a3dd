//! From a member's data in the archive to its contents: decompressed and checked.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::DeflateDecoder;
use lzma_rust2::LzmaReader;
use ruzstd::decoding::StreamingDecoder;

use crate::extent::Extent;
use crate::zip::Source;
use crate::zip::budget::{self, Lease};
use crate::zip::member::{Member, Method};

/// How much of the archive is read at once, in bytes.
const READ_LEN: u64 = 256 << 10;

/// The most that a decoder may look back, and so keep, in bytes. No preset of xz or zstd asks for
/// more, unless told that both sides have the memory.
const WINDOW_MAX: u64 = 128 << 20;

/// The stream of an LZMA member says itself where it ends (APPNOTE 4.4.4, bit 1).
const LZMA_ENDS_ITSELF: u16 = 1 << 1;

/// Why the contents of a member are not what the archive says. Errors of a [`Decoder`] whose kind is
/// `InvalidData` hold one.
#[derive(Debug)]
pub enum DecodeError {
    /// The compressed data makes no sense.
    Data(io::Error),
    /// The decoder would have to keep more than 128 MiB.
    Window,
    /// There are fewer bytes than the member should have.
    TooShort {
        /// How many there are.
        len: u64,
        /// How many there should be.
        size: u64,
    },
    /// There are more bytes than the member should have.
    TooLong {
        /// How many there should be.
        size: u64,
    },
    /// The bytes have another CRC-32.
    Crc {
        /// Theirs.
        found: u32,
        /// As the archive tells.
        told: u32,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(error) => write!(f, "compressed data is damaged: {error}"),
            Self::Window => write!(
                f,
                "compressed so that {} MiB of memory do not suffice to read it",
                WINDOW_MAX >> 20
            ),
            Self::TooShort { len, size } => write!(f, "{len} bytes of data instead of {size}"),
            Self::TooLong { size } => write!(f, "more than {size} bytes of data"),
            Self::Crc { found, told } => {
                write!(f, "CRC-32 of the data is {found:08x} instead of {told:08x}")
            }
        }
    }
}

impl std::error::Error for DecodeError {}

impl From<DecodeError> for io::Error {
    fn from(fault: DecodeError) -> Self {
        Self::new(io::ErrorKind::InvalidData, fault)
    }
}

/// The contents of a member.
///
/// Never gives more bytes than the member's size. Its end is only reached, with a read of 0 bytes,
/// where all of them were there and have the right CRC-32; otherwise the last read is an error.
pub struct Decoder<'a> {
    stream: Box<dyn Read + 'a>,
    crc: crc32fast::Hasher,
    /// How many bytes are still to come.
    left: u64,
    size: u64,
    crc32: u32,
    /// For what the stream keeps to look back at.
    _window: Lease<'static>,
}

impl<'a> Decoder<'a> {
    /// The contents of `member`, whose data is in `source`.
    ///
    /// # Errors
    /// Those of reading the source, and [`DecodeError`]; `Unsupported` for a method that is not
    /// [known](Method::is_known).
    pub fn new<S: Source + ?Sized>(source: &'a S, member: &Member) -> io::Result<Self> {
        let data = Data {
            source,
            rest: member.extent,
        };
        let capacity = member.extent.len.clamp(1, READ_LEN);
        let data = BufReader::with_capacity(capacity as usize, data);
        // No more can be looked back at than there is.
        let window = match member.method {
            Method::LZMA | Method::ZSTD => member.size.min(WINDOW_MAX),
            _ => 0,
        };
        let window = budget::WINDOWS.take(window);
        let stream: Box<dyn Read + 'a> = match member.method {
            Method::STORED => Box::new(data),
            Method::DEFLATED => Box::new(DeflateDecoder::new(data)),
            Method::BZIP2 => Box::new(MultiBzDecoder::new(data)),
            Method::LZMA => Box::new(lzma(data, member)?),
            Method::ZSTD => Box::new(Zstd::Between(data)),
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(Self {
            stream,
            crc: crc32fast::Hasher::new(),
            left: member.size,
            size: member.size,
            crc32: member.crc32,
            _window: window,
        })
    }

    /// Looks whether the end is where it should be, and the contents are what they should be.
    fn check_end(&mut self) -> io::Result<()> {
        if read_some(&mut *self.stream, &mut [0])? > 0 {
            return Err(DecodeError::TooLong { size: self.size }.into());
        }
        match self.crc.clone().finalize() {
            crc32 if crc32 == self.crc32 => Ok(()),
            found => Err(DecodeError::Crc {
                found,
                told: self.crc32,
            }
            .into()),
        }
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return self.check_end().map(|()| 0);
        }
        let len = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let len = read_some(&mut *self.stream, &mut buffer[..len])?;
        if len == 0 && !buffer.is_empty() {
            let len = self.size - self.left;
            return Err(DecodeError::TooShort {
                len,
                size: self.size,
            }
            .into());
        }
        self.crc.update(&buffer[..len]);
        self.left -= len as u64;
        Ok(len)
    }
}

fn read_some(stream: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map_err(as_fault),
        }
    }
}

/// Tells an error of a decoder from one of reading the archive, which stays what it is.
fn as_fault(error: io::Error) -> io::Error {
    if error.raw_os_error().is_some() {
        return error;
    }
    match error.downcast::<DecodeError>() {
        Ok(fault) => fault.into(),
        Err(error) => DecodeError::Data(error).into(),
    }
}

/// The data of a member as it is in the archive.
struct Data<'a, S: ?Sized> {
    source: &'a S,
    rest: Extent,
}

impl<S: Source + ?Sized> Read for Data<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = (buffer.len() as u64).min(self.rest.len);
        self.source
            .read_exact_at(&mut buffer[..len as usize], self.rest.start)?;
        self.rest.start += len;
        self.rest.len -= len;
        Ok(len as usize)
    }
}

/// APPNOTE 5.8.8: version of the encoder, length of the properties, the properties, the stream.
fn lzma<R: Read>(mut data: R, member: &Member) -> io::Result<LzmaReader<R>> {
    let mut header = [0; 9];
    data.read_exact(&mut header).map_err(as_fault)?;
    let [_, _, len_low, len_high, properties, window @ ..] = header;
    if [len_low, len_high] != [5, 0] {
        return Err(DecodeError::Data(io::Error::other("unknown properties")).into());
    }
    // What the decoder keeps need not be more than there is.
    let window = u64::from(u32::from_le_bytes(window)).min(member.size.max(4096));
    if window > WINDOW_MAX {
        return Err(DecodeError::Window.into());
    }
    let size = if member.flags & LZMA_ENDS_ITSELF == 0 {
        member.size
    } else {
        u64::MAX
    };
    LzmaReader::new_with_props(data, size, properties, window as u32, None).map_err(as_fault)
}

/// A zstd stream: frames, one after the other (RFC 8878, 3).
enum Zstd<R: Read> {
    Between(R),
    Inside(Box<StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>),
    End,
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            *self = match std::mem::replace(self, Self::End) {
                Self::End => return Ok(0),
                Self::Between(mut data) => {
                    if data.fill_buf()?.is_empty() {
                        return Ok(0);
                    }
                    let frame = StreamingDecoder::new_with_max_window_size(data, WINDOW_MAX);
                    Self::Inside(Box::new(frame.map_err(io::Error::other)?))
                }
                Self::Inside(mut frame) => {
                    let len = frame.read(buffer)?;
                    if len > 0 || buffer.is_empty() {
                        *self = Self::Inside(frame);
                        return Ok(len);
                    }
                    Self::Between(frame.into_inner())
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::zip::names::Names;

    fn contents() -> Vec<u8> {
        (0..40_000u32)
            .flat_map(|at| (at / 3).to_le_bytes())
            .collect()
    }

    fn member(method: Method, data: &[u8], contents: &[u8]) -> Member {
        Member {
            name: Names::default().push(b"x").unwrap(),
            method,
            flags: 0,
            crc32: crc32fast::hash(contents),
            size: contents.len() as u64,
            extent: Extent {
                start: 3,
                len: data.len() as u64,
            },
            local_header_offset: 0,
            modified: 0,
            stamp: Default::default(),
            problem: None,
        }
    }

    /// What is read of a member whose data is `data`, between bytes of others.
    fn read(member: &Member, data: &[u8]) -> Result<Vec<u8>, String> {
        let archive = [b"PK.", data, b"more"].concat();
        let mut contents = Vec::new();
        Decoder::new(&archive[..], member)
            .and_then(|mut decoder| decoder.read_to_end(&mut contents))
            .map(|_| contents)
            .map_err(|error| error.to_string())
    }

    fn deflated(contents: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Default::default());
        encoder.write_all(contents).unwrap();
        encoder.finish().unwrap()
    }

    fn bzip2(contents: &[u8]) -> Vec<u8> {
        let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), Default::default());
        encoder.write_all(contents).unwrap();
        encoder.finish().unwrap()
    }

    fn lzma(contents: &[u8], ends_itself: bool) -> Vec<u8> {
        let options = lzma_rust2::LzmaOptions::with_preset(1);
        let mut data = vec![9, 4, 5, 0, options.get_props()];
        data.extend(options.dict_size.to_le_bytes());
        let mut encoder =
            lzma_rust2::LzmaWriter::new_no_header(data, &options, ends_itself).unwrap();
        encoder.write_all(contents).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(contents: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(contents, ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[test]
    fn every_known_method_is_read() {
        let contents = contents();
        let halves = contents.split_at(1000);
        for (method, data) in [
            (Method::STORED, contents.clone()),
            (Method::DEFLATED, deflated(&contents)),
            (Method::BZIP2, bzip2(&contents)),
            (Method::LZMA, lzma(&contents, false)),
            (Method::ZSTD, zstd(&contents)),
            (Method::ZSTD, [zstd(halves.0), zstd(halves.1)].concat()),
        ] {
            assert!(method.is_known());
            let member = member(method, &data, &contents);
            assert_eq!(read(&member, &data).as_ref(), Ok(&contents), "{method}");
        }
        let data = lzma(&contents, true);
        let mut member = member(Method::LZMA, &data, &contents);
        member.flags = LZMA_ENDS_ITSELF;
        assert_eq!(read(&member, &data), Ok(contents));
    }

    #[test]
    fn an_empty_member_is_read() {
        for (method, data) in [
            (Method::STORED, vec![]),
            (Method::DEFLATED, deflated(b"")),
            (Method::BZIP2, bzip2(b"")),
            (Method::LZMA, lzma(b"", false)),
            (Method::ZSTD, zstd(b"")),
        ] {
            assert_eq!(read(&member(method, &data, b""), &data), Ok(vec![]));
        }
    }

    #[test]
    fn a_method_that_is_not_known_is_not_read() {
        let error = Decoder::new(&b"PK.data"[..], &member(Method(9), b"data", b"")).err();
        assert_eq!(
            error.map(|error| error.kind()),
            Some(io::ErrorKind::Unsupported)
        );
    }

    #[test]
    fn another_crc_or_another_size_is_a_fault() {
        let contents = contents();
        let data = deflated(&contents);
        let mut member = member(Method::DEFLATED, &data, &contents);
        member.crc32 ^= 1;
        let found = member.crc32 ^ 1;
        assert_eq!(
            read(&member, &data),
            Err(format!(
                "CRC-32 of the data is {found:08x} instead of {:08x}",
                member.crc32
            ))
        );
        member.crc32 = found;
        member.size = 160_001;
        assert_eq!(
            read(&member, &data),
            Err("160000 bytes of data instead of 160001".to_owned())
        );
        member.size = 159_999;
        assert_eq!(
            read(&member, &data),
            Err("more than 159999 bytes of data".to_owned())
        );
    }

    #[test]
    fn damaged_data_is_a_fault_for_every_method() {
        let contents = contents();
        for (method, data) in [
            (Method::DEFLATED, deflated(&contents)),
            (Method::BZIP2, bzip2(&contents)),
            (Method::LZMA, lzma(&contents, false)),
            (Method::ZSTD, zstd(&contents)),
        ] {
            for len in [0, 1, 5, data.len() / 2, data.len() - 1] {
                let member = member(method, &data[..len], &contents);
                assert!(read(&member, &data[..len]).is_err(), "{method} {len}");
            }
            for at in (0..data.len()).step_by(97) {
                let mut data = data.clone();
                data[at] ^= 0x55;
                let member = member(method, &data, &contents);
                if let Ok(read) = read(&member, &data) {
                    assert_eq!(read, contents, "{method} {at}");
                }
            }
        }
    }

    #[test]
    fn a_decoder_that_would_keep_too_much_is_a_fault() {
        let mut data = lzma(&contents(), false);
        data[5..9].fill(0xFF);
        let mut member = member(Method::LZMA, &data, b"");
        member.size = 1 << 40;
        assert_eq!(
            read(&member, &data),
            Err("compressed so that 128 MiB of memory do not suffice to read it".to_owned())
        );
    }

    #[test]
    fn an_error_of_the_archive_is_not_one_of_the_data() {
        struct Broken;
        impl Source for Broken {
            fn read_exact_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
                Err(io::Error::from_raw_os_error(5))
            }
        }
        let mut decoder = Decoder::new(&Broken, &member(Method::DEFLATED, b"data", b"x")).unwrap();
        let error = decoder.read(&mut [0; 9]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(5));
    }
}
