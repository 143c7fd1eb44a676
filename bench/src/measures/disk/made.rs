//! The images that are weighed and fetched: three layers of some MiB, of what images are made of, half of which no program
//! makes smaller; others have two of the layers and another third.

use anyhow::Result;

use crate::image::entries::{common, file, noise};
use crate::image::{Entry, Image, Kind, sha256};
use crate::site::Site;

/// Files of each layer, and their size.
const BASE: (usize, usize) = (40, 512 << 10);
const MIDDLE: (usize, usize) = (12, 512 << 10);
const TOP: (usize, usize) = (4, 256 << 10);

/// Two images that share two layers, made. The names are in their bytes: nobody has seen these before.
///
/// # Errors
/// When they cannot be made. What there is of them is removed then: it may be what fills the disk, and everybody who is
/// measured afterwards would be said to have failed for it.
pub(super) fn images(site: &Site, name: &str, form: Option<&str>) -> Result<[Image; 2]> {
    let mut images = sharing(site, name, ["first", "second"]);
    for image in &mut images {
        image.whole = form == Some(crate::vm::drive::WHOLE);
    }
    if let Err(error) = images.iter().try_for_each(Image::make) {
        for image in images.iter().filter(|it| it.dir().exists()) {
            // The error to tell is that which there was before.
            let _ = image.remove();
        }
        return Err(error);
    }
    Ok(images)
}

/// Images that share all layers but the last, of which nothing is made yet.
pub(super) fn sharing<const N: usize>(site: &Site, name: &str, numbers: [&str; N]) -> [Image; N] {
    let shared =
        vec![[common(), layer(name, "base", "base", BASE)].concat(), layer(name, "middle", "middle", MIDDLE)];
    numbers.map(|number| {
        let mut layers = shared.clone();
        // At the same place in each: a machine's disk that is made anew is not to differ by more than this.
        layers.push(layer(name, number, "top", TOP));
        Image::new(site, &format!("{name}-{number}"), layers)
    })
}

/// A directory of files: half of each is noise, the other half a line over and over.
fn layer(image: &str, name: &str, place: &str, (files, size): (usize, usize)) -> Vec<Entry> {
    let directory = format!("/usr/{place}");
    let seed = sha256(format!("{image}/{name}").as_bytes());
    let seed = u64::from_str_radix(&seed[..15], 16).unwrap_or(0);
    let mut entries = vec![Entry::new(&directory, 0o755, Kind::Directory)];
    entries.extend((0..files).map(|number| {
        let mut bytes = noise(seed + number as u64, size / 2);
        let line = format!("{image}/{name}: file {number}\n");
        bytes.extend(line.bytes().cycle().take(size / 2));
        file(&format!("{directory}/file{number}"), 0o644, &bytes)
    }));
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_made_whole_leaves_nothing() {
        let base = tempfile::tempdir().unwrap();
        let site = Site::create_in(base.path(), "half").unwrap();
        let images = site.dir().join("images");
        // The second cannot be made: there is a file in the place of its tree. Without root the first cannot either.
        std::fs::create_dir_all(images.join("it-second")).unwrap();
        std::fs::write(images.join("it-second/tree"), "").unwrap();
        assert!(super::images(&site, "it", None).is_err());
        assert_eq!(std::fs::read_dir(&images).unwrap().count(), 0);
        site.remove().unwrap();
    }
}
