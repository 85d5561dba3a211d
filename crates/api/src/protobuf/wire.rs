//! Protobuf's wire format: tags, varints, length-delimited bytes.

use super::ProtobufError;

/// A value on the wire.
#[derive(Debug, Clone, Copy)]
pub(super) enum Item<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Item<'a> {
    pub(super) fn number(self) -> Result<u64, ProtobufError> {
        match self {
            Self::Number(n) => Ok(n),
            Self::Bytes(_) => Err(ProtobufError::Malformed),
        }
    }

    pub(super) fn bytes(self) -> Result<&'a [u8], ProtobufError> {
        match self {
            Self::Bytes(b) => Ok(b),
            Self::Number(_) => Err(ProtobufError::Malformed),
        }
    }

    pub(super) fn text(self) -> Result<String, ProtobufError> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| ProtobufError::Malformed)
    }
}

/// Walks the fields of a message.
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next field; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Item<'a>)>, ProtobufError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| ProtobufError::Malformed)?;
        let item = match tag & 7 {
            0 => Item::Number(self.varint()?),
            1 => Item::Number(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| ProtobufError::Malformed)?;
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or(ProtobufError::Malformed)?;
                self.rest = rest;
                Item::Bytes(bytes)
            }
            5 => Item::Number(u64::from(u32::from_le_bytes(self.array()?))),
            _ => return Err(ProtobufError::Malformed),
        };
        Ok(Some((number, item)))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtobufError> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(ProtobufError::Malformed)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(ProtobufError::Malformed)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ProtobufError::Malformed)
    }
}

fn find(message: &[u8], wanted: u32) -> Result<Option<Item<'_>>, ProtobufError> {
    let mut cursor = Cursor::new(message);
    let mut found = None;
    while let Some((number, item)) = cursor.next()? {
        if number == wanted {
            found = Some(item);
        }
    }
    Ok(found)
}

/// A number field of a message.
pub(super) fn number_of(message: &[u8], field: u32) -> Result<Option<u64>, ProtobufError> {
    find(message, field)?.map(Item::number).transpose()
}

/// A text field of a message.
pub(super) fn text_of(message: &[u8], field: u32) -> Result<Option<String>, ProtobufError> {
    find(message, field)?.map(Item::text).transpose()
}

/// A bytes field of a message.
pub(super) fn bytes_of(message: &[u8], field: u32) -> Result<Option<&[u8]>, ProtobufError> {
    find(message, field)?.map(Item::bytes).transpose()
}
