//! Header blocks: pairs of names and values, compressed with one context for each direction.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use crate::dictionary::{CHECKSUM, dictionary};
use crate::frame::FrameError;

/// Names and values; the name of a pair that was received is in lower case.
pub type Headers = Vec<(String, String)>;

/// As far back as a compressed stream may refer.
const WINDOW: usize = 32 * 1024;
/// One block, unpacked.
const LONGEST: usize = 32 * 1024;
/// Pairs in one block.
const PAIRS: u32 = 128;
const DEFLATE: u8 = 0x78;
const HAS_DICTIONARY: u8 = 0x20;

/// Unpacks the blocks of one direction.
pub(crate) struct Unpack {
    state: Box<DecompressorOxide>,
    /// What was unpacked last; the dictionary to begin with.
    window: Box<[u8]>,
    position: usize,
    begun: bool,
}

impl Unpack {
    pub(crate) fn new() -> Self {
        let dictionary = dictionary();
        let position = dictionary.len();
        let mut window = dictionary;
        window.resize(WINDOW, 0);
        Self { state: Box::default(), window: window.into(), position, begun: false }
    }

    /// The pairs of a block. After an error the direction is lost.
    pub(crate) fn block(&mut self, packed: &[u8]) -> Result<Headers, FrameError> {
        let mut packed = packed;
        if !self.begun {
            packed = begin(packed)?;
            self.begun = true;
        }
        let mut plain = BytesMut::new();
        loop {
            let flags = TINFL_FLAG_HAS_MORE_INPUT;
            let (status, read, written) = decompress(&mut self.state, packed, &mut self.window, self.position, flags);
            let end = self.position.saturating_add(written);
            plain.extend_from_slice(self.window.get(self.position..end).unwrap_or_default());
            self.position = if end >= WINDOW { 0 } else { end };
            packed = packed.get(read..).unwrap_or_default();
            if plain.len() > LONGEST {
                return Err(FrameError::HeadersTooLong);
            }
            match status {
                TINFLStatus::NeedsMoreInput if packed.is_empty() => return parse(plain.freeze()),
                TINFLStatus::HasMoreOutput => {}
                // The stream of a direction never ends.
                _ => return Err(FrameError::Compression),
            }
        }
    }
}

/// The head of a zlib stream: its method, and the dictionary if it names one.
fn begin(packed: &[u8]) -> Result<&[u8], FrameError> {
    let [method, flags, rest @ ..] = packed else { return Err(FrameError::Compression) };
    let is_sound = method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0;
    match rest {
        [a, b, c, d, rest @ ..] if is_sound && flags & HAS_DICTIONARY != 0 => {
            let known = u32::from_be_bytes([*a, *b, *c, *d]) == CHECKSUM;
            if known { Ok(rest) } else { Err(FrameError::Compression) }
        }
        _ if is_sound && flags & HAS_DICTIONARY == 0 => Ok(rest),
        _ => Err(FrameError::Compression),
    }
}

fn parse(mut plain: Bytes) -> Result<Headers, FrameError> {
    let count = plain.try_get_u32().map_err(|_| FrameError::Headers)?;
    if count > PAIRS {
        return Err(FrameError::HeadersTooLong);
    }
    let mut text = || {
        let length = plain.try_get_u32().ok().and_then(|length| usize::try_from(length).ok());
        let length = length.filter(|length| *length <= plain.remaining()).ok_or(FrameError::Headers)?;
        Ok(String::from_utf8_lossy(&plain.split_to(length)).into_owned())
    };
    let mut headers = Headers::new();
    for _ in 0..count {
        let name = text()?.to_ascii_lowercase();
        let values = text()?;
        // Several values of one name stand together.
        headers.extend(values.split('\0').map(|value| (name.clone(), value.to_owned())));
    }
    Ok(headers)
}

/// Packs the blocks of one direction. They are few and short, so they are stored, not squeezed: each stored piece ends
/// on a whole byte, and every reader of the format takes it.
#[derive(Default)]
pub(crate) struct Pack {
    begun: bool,
}

impl Pack {
    pub(crate) fn block(&mut self, headers: &[(String, String)]) -> Bytes {
        let mut plain = BytesMut::new();
        plain.put_u32(length(headers.len()));
        for (name, value) in headers {
            for text in [name.to_ascii_lowercase().as_str(), value] {
                plain.put_u32(length(text.len()));
                plain.extend_from_slice(text.as_bytes());
            }
        }
        let mut packed = BytesMut::new();
        if !self.begun {
            self.begun = true;
            // Read as one number these are a multiple of 31, as they must be.
            packed.put_slice(&[DEFLATE, HAS_DICTIONARY]);
            packed.put_u32(CHECKSUM);
        }
        // The empty piece at the end is what a flush leaves: at it readers give out what they have.
        for piece in plain.chunks(usize::from(u16::MAX)).chain([&[][..]]) {
            let length = u16::try_from(piece.len()).unwrap_or(u16::MAX);
            packed.put_u8(0);
            packed.put_u16_le(length);
            packed.put_u16_le(!length);
            packed.extend_from_slice(piece);
        }
        packed.freeze()
    }
}

fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compress, Compression, FlushCompress};

    fn pairs(pairs: &[(&str, &str)]) -> Headers {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let (mut pack, mut unpack) = (Pack::default(), Unpack::new());
        for headers in [pairs(&[("StreamType", "data"), ("port", "80")]), Vec::new(), pairs(&[("a", "")])] {
            let lower: Headers = headers.iter().map(|(n, v)| (n.to_lowercase(), v.clone())).collect();
            assert_eq!(unpack.block(&pack.block(&headers)).unwrap(), lower);
        }
    }

    /// A head and raw pieces, as zlib writes them: without the dictionary, but squeezed and over many blocks.
    #[test]
    fn squeezed_blocks_share_their_context() {
        let mut compress = Compress::new(Compression::best(), true);
        let mut unpack = Unpack::new();
        for round in 0..2000 {
            let value = format!("{round:-<100}");
            let mut plain = BytesMut::new();
            plain.put_u32(1);
            for text in ["requestid", &value] {
                plain.put_u32(text.len() as u32);
                plain.extend_from_slice(text.as_bytes());
            }
            let mut packed = Vec::with_capacity(4096);
            compress.compress_vec(&plain, &mut packed, FlushCompress::Sync).unwrap();
            assert_eq!(unpack.block(&packed).unwrap(), pairs(&[("requestid", &value)]));
        }
    }

    #[test]
    fn a_dictionary_is_used() {
        // Head and block as Python's zlib writes {"content-type": "text/plain"} with the dictionary.
        let packed = hex("78f9e3c6a7c202a623462c850917c21500000000ffff");
        assert_eq!(Unpack::new().block(&packed).unwrap(), pairs(&[("content-type", "text/plain")]));
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<char> = text.chars().collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
    }

    #[test]
    fn a_block_ends_flushed() {
        let packed = Pack::default().block(&Vec::new());
        assert_eq!(&packed[..], hex("7820e3c6a7c2000400fbff00000000000000ffff"));
    }

    #[test]
    fn several_values_of_a_name() {
        let packed = Pack::default().block(&pairs(&[("a", "x\0y")]));
        assert_eq!(Unpack::new().block(&packed).unwrap(), pairs(&[("a", "x"), ("a", "y")]));
    }

    #[test]
    fn bombs_and_nonsense_are_refused() {
        let mut packed = Vec::with_capacity(1 << 16);
        let zeros = vec![0; 8 << 20];
        Compress::new(Compression::best(), true).compress_vec(&zeros, &mut packed, FlushCompress::Sync).unwrap();
        assert!(matches!(Unpack::new().block(&packed), Err(FrameError::HeadersTooLong)));
        for bytes in [&[][..], &[0x78], &[0x78, 0x9d], &[0x78, 0xbb, 1, 2, 3, 4], &[0x78, 0x9c, 0xff, 0xff]] {
            assert!(Unpack::new().block(bytes).is_err(), "{bytes:?}");
        }
    }
}
