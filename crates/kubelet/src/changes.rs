//! Told of changes of files by the kernel.

use std::os::fd::OwnedFd;
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;

pub(crate) struct FileChanges {
    queue: AsyncFd<OwnedFd>,
}

impl FileChanges {
    /// Watches each path for what is said beside it.
    pub(crate) fn of(paths: &[(&Path, AddWatchFlags)]) -> std::io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        for (path, flags) in paths {
            inotify.add_watch(*path, *flags)?;
        }
        // Its successor is unsafe, for descriptors that may change under it; an owned one does not.
        #[allow(deprecated)]
        let queue = AsyncFd::new(OwnedFd::from(inotify))?;
        Ok(Self { queue })
    }

    /// Waits until something changed. What it was is not told: look.
    pub(crate) async fn next(&self) -> std::io::Result<()> {
        loop {
            let mut ready = self.queue.readable().await?;
            let mut buffer = [0; 4096];
            match ready.try_io(|queue| Ok(nix::unistd::read(queue.get_ref(), &mut buffer)?)) {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_write_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let changes = FileChanges::of(&[(folder.path(), AddWatchFlags::IN_CREATE)]).unwrap();
        std::fs::write(folder.path().join("x"), "y").unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(5), changes.next()).await.unwrap().unwrap();
    }
}
