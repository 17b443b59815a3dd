//! The contents of a member: its data, decompressed and checked.

use std::io::{self, BufRead, Read};
use std::ops::Range;

use bzip2::bufread::MultiBzDecoder;
use lzma_rust2::LzmaReader;
use ruzstd::decoding::StreamingDecoder;

use super::budget::{self, Lease};
use super::deflate::DeflateReader;
use super::error::DecodeError;
use super::member::Member;
use super::method::Method;
use super::read_at::ReadAt;
use crate::extent::Extent;
use crate::sys::buffer::Buffer;

/// How much of the archive is read at once, in bytes.
const READ_LEN: usize = 256 << 10;

/// The largest window of a decoder, in bytes. No preset of xz and no ordinary level of zstd uses a
/// larger one.
const WINDOW_MAX: u64 = 128 << 20;

/// The stream of an LZMA member has an end marker (APPNOTE 4.4.4, bit 1).
const LZMA_END_MARKER: u16 = 1 << 1;

/// A reader of the contents of a member.
///
/// It never returns more bytes than the member's size. A read returns 0 bytes at the end only if all
/// bytes were there and have the right CRC-32; otherwise it is an error.
pub struct Decoder<'a> {
    stream: Box<dyn Read + 'a>,
    crc: crc32fast::Hasher,
    /// Bytes still to be read.
    left: u64,
    size: u64,
    crc32: u32,
    /// Accounts for the window of the stream.
    _window: Lease<'static>,
}

impl<'a> Decoder<'a> {
    /// Returns a reader of the contents of `member`, whose data is in `source`.
    ///
    /// # Errors
    /// Those of reading the source, and [`DecodeError`]; `Unsupported` for a method that is not
    /// [known](Method::is_known).
    pub fn new<R: ReadAt + ?Sized>(source: &'a R, member: &Member) -> io::Result<Self> {
        let data = Data {
            source,
            rest: member.extent,
            buffer: Buffer::take()?,
            unread: 0..0,
        };
        // A window need not be larger than the contents.
        let window = match member.method {
            Method::LZMA | Method::ZSTD => member.size.min(WINDOW_MAX),
            _ => 0,
        };
        let window = budget::WINDOWS.take(window);
        let stream: Box<dyn Read + 'a> = match member.method {
            Method::STORED => Box::new(data),
            Method::DEFLATED => Box::new(DeflateReader::new(data)),
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

    /// Checks that the stream ends here, and the CRC-32.
    fn check_end(&mut self) -> io::Result<()> {
        if read_some(&mut *self.stream, &mut [0])? > 0 {
            return Err(DecodeError::TooLong { size: self.size }.into());
        }
        match self.crc.clone().finalize() {
            crc32 if crc32 == self.crc32 => Ok(()),
            actual => Err(DecodeError::Crc {
                declared: self.crc32,
                actual,
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
            result => return result.map_err(as_decode_error),
        }
    }
}

/// Makes an error of a decoder a [`DecodeError`]. One of reading the archive stays as it is.
fn as_decode_error(error: io::Error) -> io::Error {
    if error.raw_os_error().is_some() {
        return error;
    }
    match error.downcast::<DecodeError>() {
        Ok(error) => error.into(),
        Err(error) => DecodeError::Data(error).into(),
    }
}

/// A reader of the data of a member, without decompression.
struct Data<'a, R: ?Sized> {
    source: &'a R,
    rest: Extent,
    buffer: Buffer,
    /// The bytes in the buffer that were not read yet.
    unread: Range<usize>,
}

/// Fills `buffer` with the first bytes of `rest`, as far as they go, and leaves the others.
fn read_data<R: ReadAt + ?Sized>(
    source: &R,
    rest: &mut Extent,
    buffer: &mut [u8],
) -> io::Result<usize> {
    let len = (buffer.len() as u64).min(rest.len);
    source.read_exact_at(&mut buffer[..len as usize], rest.start)?;
    rest.start += len;
    rest.len -= len;
    Ok(len as usize)
}

impl<R: ReadAt + ?Sized> BufRead for Data<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.unread.is_empty() {
            let buffer = &mut self.buffer[..READ_LEN];
            self.unread = 0..read_data(self.source, &mut self.rest, buffer)?;
        }
        Ok(&self.buffer[self.unread.clone()])
    }

    fn consume(&mut self, len: usize) {
        self.unread.start += len;
    }
}

impl<R: ReadAt + ?Sized> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.unread.is_empty() && buffer.len() >= READ_LEN {
            return read_data(self.source, &mut self.rest, buffer);
        }
        let len = self.fill_buf()?.read(buffer)?;
        self.consume(len);
        Ok(len)
    }
}

/// Returns the stream behind an LZMA header: version of the encoder, length of the properties, the
/// properties (APPNOTE 5.8.8).
fn lzma<R: Read>(mut data: R, member: &Member) -> io::Result<LzmaReader<R>> {
    let mut header = [0; 9];
    data.read_exact(&mut header).map_err(as_decode_error)?;
    let [_, _, len_low, len_high, properties, window @ ..] = header;
    if [len_low, len_high] != [5, 0] {
        return Err(DecodeError::Data(io::Error::other("unknown properties")).into());
    }
    // The header may declare a larger window than the contents can use.
    let window = u64::from(u32::from_le_bytes(window)).min(member.size.max(4096));
    if window > WINDOW_MAX {
        return Err(DecodeError::Window.into());
    }
    let size = if member.flags & LZMA_END_MARKER == 0 {
        member.size
    } else {
        u64::MAX
    };
    LzmaReader::new_with_props(data, size, properties, window as u32, None).map_err(as_decode_error)
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

    fn contents() -> Vec<u8> {
        (0..40_000u32)
            .flat_map(|at| (at / 3).to_le_bytes())
            .collect()
    }

    fn member(method: Method, data: &[u8], contents: &[u8]) -> Member {
        let extent = Extent {
            start: 3,
            len: data.len() as u64,
        };
        Member {
            method,
            crc32: crc32fast::hash(contents),
            size: contents.len() as u64,
            ..Member::stored_at(extent)
        }
    }

    /// Reads a member whose data is `data`, with other bytes around it.
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

    fn lzma(contents: &[u8], has_end_marker: bool) -> Vec<u8> {
        let options = lzma_rust2::LzmaOptions::with_preset(1);
        let mut data = vec![9, 4, 5, 0, options.get_props()];
        data.extend(options.dict_size.to_le_bytes());
        let mut encoder =
            lzma_rust2::LzmaWriter::new_no_header(data, &options, has_end_marker).unwrap();
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
        member.flags = LZMA_END_MARKER;
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
    fn a_wrong_crc_or_size_is_an_error() {
        let contents = contents();
        let data = deflated(&contents);
        let mut member = member(Method::DEFLATED, &data, &contents);
        member.crc32 ^= 1;
        let actual = member.crc32 ^ 1;
        assert_eq!(
            read(&member, &data),
            Err(format!(
                "CRC-32 of the data is {actual:08x} instead of {:08x}",
                member.crc32
            ))
        );
        member.crc32 = actual;
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
    fn damaged_data_is_an_error_for_every_method() {
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
    fn a_window_of_more_than_128_mib_is_an_error() {
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
        impl ReadAt for Broken {
            fn read_exact_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
                Err(io::Error::from_raw_os_error(5))
            }
        }
        let mut decoder = Decoder::new(&Broken, &member(Method::DEFLATED, b"data", b"x")).unwrap();
        let error = decoder.read(&mut [0; 9]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(5));
    }
}
