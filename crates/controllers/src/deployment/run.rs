pub(crate) async fn run(_context: crate::context::Context, _shutdown: tokio_util::sync::CancellationToken) {}
