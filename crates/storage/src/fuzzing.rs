//! Doors for the fuzz targets.

/// Reads a record with this payload: it is one or it is none.
pub fn record(payload: &[u8]) {
    crate::embedded::read_record(payload);
}
