//! Nodes that have the images already are better, large images count for more.

use crate::framework::{Cycle, MAX_SCORE, Score};
use crate::snapshot::NodeInfo;

pub(crate) struct ImageLocality;

const MIB: i64 = 1024 * 1024;
const SMALLEST: i64 = 23 * MIB;
const LARGEST: i64 = 1000 * MIB;

fn normalized(image: &str) -> String {
    let after_host = image.rsplit('/').next().unwrap_or(image);
    if after_host.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

impl Score for ImageLocality {
    fn score(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> i64 {
        let Some(wishes) = &cycle.pod.wishes else { return 0 };
        if node.images.is_empty() || wishes.images.is_empty() {
            return 0;
        }
        let present: i64 = wishes.images.iter().filter_map(|image| node.images.get(&normalized(image))).sum();
        let largest = LARGEST * i64::try_from(wishes.images.len()).unwrap_or(1);
        (present.clamp(SMALLEST, largest) - SMALLEST) * MAX_SCORE / (largest - SMALLEST)
    }
}
