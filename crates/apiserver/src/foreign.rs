//! Values that another API server wrote: upstream's stores protobuf.

use bytes::Bytes;

use crate::registry::object;

/// The JSON of a value that upstream's API server stored in protobuf; any other value, and what cannot be read, as it is.
pub fn decode_stored(value: Bytes) -> Bytes {
    if !value.starts_with(api::protobuf::MAGIC) {
        return value;
    }
    let decoded = api::protobuf::decode(&value).map_err(|e| e.to_string());
    let encoded = decoded.and_then(|mut tree| object::encode(&mut tree).map_err(|e| e.to_string()));
    encoded.unwrap_or_else(|why| {
        tracing::warn!(why, "a stored protobuf value cannot be read");
        value
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2, content.len() as u8];
        bytes.extend_from_slice(content);
        bytes
    }

    #[test]
    fn what_upstream_stored_is_read_as_canonical_json() {
        let metadata = [field(1, b"web"), field(3, b"default"), field(5, b"some-uid")].concat();
        let entry = [field(1, b"key"), field(2, b"value")].concat();
        let object = [field(1, &metadata), field(2, &entry)].concat();
        let type_meta = [field(1, b"v1"), field(2, b"ConfigMap")].concat();
        let stored = [b"k8s\0".to_vec(), field(1, &type_meta), field(2, &object)].concat();
        let read = decode_stored(stored.into());
        let text = String::from_utf8(read.to_vec()).unwrap();
        assert!(
            text.starts_with(r#"{"apiVersion":"v1","data":{"key":"value"},"kind":"ConfigMap","metadata":{"#),
            "{text}"
        );
        assert!(text.contains(r#""name":"web","namespace":"default""#), "{text}");
    }

    #[test]
    fn everything_else_is_left_as_it_is() {
        for value in [&b"{}"[..], b"", b"k8s\0", b"k8s\0\xff\xff"] {
            assert_eq!(decode_stored(Bytes::from_static(value)), value);
        }
    }
}
