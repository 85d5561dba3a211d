//! The image service on the wire.

use tonic::{Request, async_trait};

use super::{Answer, Service, answer};
use crate::v1::image_service_server::ImageService;
use crate::v1::*;

#[async_trait]
impl ImageService for Service {
    async fn list_images(&self, request: Request<ListImagesRequest>) -> Answer<ListImagesResponse> {
        let images = self.engine.list_images(request.into_inner().filter).await;
        answer(images.map(|images| ListImagesResponse { images }))
    }

    async fn image_status(&self, request: Request<ImageStatusRequest>) -> Answer<ImageStatusResponse> {
        let image = self.engine.image_status(request.into_inner().image.unwrap_or_default()).await;
        answer(image.map(|image| ImageStatusResponse { image, info: Default::default() }))
    }

    async fn pull_image(&self, request: Request<PullImageRequest>) -> Answer<PullImageResponse> {
        let image_ref = self.engine.pull_image(request.into_inner()).await;
        answer(image_ref.map(|image_ref| PullImageResponse { image_ref }))
    }

    async fn remove_image(&self, request: Request<RemoveImageRequest>) -> Answer<RemoveImageResponse> {
        let removed = self.engine.remove_image(request.into_inner().image.unwrap_or_default()).await;
        answer(removed.map(|()| RemoveImageResponse {}))
    }

    async fn image_fs_info(&self, _: Request<ImageFsInfoRequest>) -> Answer<ImageFsInfoResponse> {
        answer(self.engine.image_fs_info().await)
    }
}
