//! Extended attributes of files.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use crate::{Result, SysError};

/// Sets an extended attribute of the file itself, not of what a symlink points to.
pub fn set(path: &Path, name: &str, value: &[u8]) -> Result<()> {
    let broken = |e: std::ffi::NulError| SysError::at("set attribute of", path, io::Error::other(e));
    let file = CString::new(path.as_os_str().as_bytes()).map_err(broken)?;
    let name = CString::new(name).map_err(broken)?;
    // SAFETY: both strings end in NUL and, like the value, outlive the call.
    let done = unsafe { nix::libc::lsetxattr(file.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    Errno::result(done).map(drop).map_err(|e| SysError::at("set attribute of", path, e))
}
