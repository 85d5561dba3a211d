//! Images of a remote engine.

use async_trait::async_trait;

use super::{LONG, Remote, USUAL, within};
use crate::v1::*;
use crate::{CriError, ImageService};

#[async_trait]
impl ImageService for Remote {
    async fn list_images(&self, filter: Option<ImageFilter>) -> Result<Vec<Image>, CriError> {
        Ok(within(USUAL, self.images().list_images(ListImagesRequest { filter })).await?.images)
    }

    async fn image_status(&self, image: ImageSpec) -> Result<Option<Image>, CriError> {
        let request = ImageStatusRequest { image: Some(image), verbose: false };
        Ok(within(USUAL, self.images().image_status(request)).await?.image)
    }

    async fn pull_image(&self, request: PullImageRequest) -> Result<String, CriError> {
        Ok(within(LONG, self.images().pull_image(request)).await?.image_ref)
    }

    async fn remove_image(&self, image: ImageSpec) -> Result<(), CriError> {
        within(USUAL, self.images().remove_image(RemoveImageRequest { image: Some(image) })).await.map(drop)
    }

    async fn image_fs_info(&self) -> Result<ImageFsInfoResponse, CriError> {
        within(USUAL, self.images().image_fs_info(ImageFsInfoRequest {})).await
    }
}
